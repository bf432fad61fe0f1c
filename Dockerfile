# syntax=docker/dockerfile:1
# One target a service: gateway, classifier, linker, generator, worker.
#
#   docker build --target worker --tag unitscope/worker:0.1.0 .        (or: make images)
#
# Bases are pinned by tag, not by digest: no digest could be checked where this file was written. Pin it
# in your own build: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

# What all images run on: the interpreter and a user without rights.
FROM ${BASE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 unitscope \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin unitscope

# Environments are made here; pip stays behind.
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY unitscope unitscope
COPY services services
COPY workers workers

# Gateway and worker need the same packages: store, broker, and clients of the services.
FROM build AS build-workers
RUN python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[workers]"

FROM build AS build-linker
RUN python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[linker]"

FROM build AS build-models
RUN python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[models]"

# Triton's server binary with its python backend; its own dependencies would forbid NumPy 2.
FROM build-models AS build-generator
RUN python -m pip --python /opt/venv/bin/python install --no-deps --constraint constraints.txt nvidia-pytriton

# What all images have: no pip, an unprivileged user, labels, the model packs.
FROM base AS runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="UnitScope" \
      org.opencontainers.image.description="See, measure and audit what the units of an image classifier have learned." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN python -m pip uninstall --yes setuptools wheel pip
COPY models /models
# Idle OpenMP threads sleep: spinning ones starve other programs where processors are shared.
ENV PATH=/opt/venv/bin:$PATH UNITSCOPE_MODELS_ROOT=/models OMP_WAIT_POLICY=PASSIVE
WORKDIR /tmp
USER 10001:10001

FROM runtime AS gateway
COPY --from=build-workers /opt/venv /opt/venv
EXPOSE 7400
ENTRYPOINT ["python", "-m", "services.gateway"]

FROM runtime AS classifier
COPY --from=build-models /opt/venv /opt/venv
EXPOSE 7401
ENTRYPOINT ["python", "-m", "services.classifier"]

FROM runtime AS linker
COPY --from=build-linker /opt/venv /opt/venv
EXPOSE 7402
ENTRYPOINT ["python", "-m", "services.linker"]

FROM runtime AS generator
COPY --from=build-generator /opt/venv /opt/venv
EXPOSE 7403 7413 7423
ENTRYPOINT ["python", "-m", "services.generator"]

FROM runtime AS worker
COPY --from=build-workers /opt/venv /opt/venv
ENTRYPOINT ["python", "-m", "workers"]
