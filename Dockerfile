# syntax=docker/dockerfile:1
# One target a service: gateway, classifier, linker, triton, worker.
#
#   docker build --target worker --tag unitscope/worker:0.1.0 .        (or: make images)
#
# The base is pinned by tag, not by digest: no digest could be checked where this file was written. Pin it in
# your own build: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
# A package mirror goes in as a secret, and stays out of the images: --secret id=pip,src=pip.conf. Which torch
# that mirror gives decides whether classifier and triton can use a GPU, and how large they are.
ARG BASE=python:3.11-slim-bookworm

# What all images run on: the interpreter and a user without rights.
FROM ${BASE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 unitscope \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin unitscope

# Environments are made here; pip stays behind. What others wrote is installed before our code is there, so
# that a change of ours does not download torch again.
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv --without-pip /opt/venv && mkdir unitscope services workers
COPY pyproject.toml constraints.txt README.md LICENSE ./

# Gateway and worker need the same packages: store, broker, and clients of the services.
FROM build AS packages-workers
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[workers,signals]"

FROM build AS packages-linker
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[linker,signals]"

FROM build AS packages-models
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[models,signals]"

# Classifiers may be ONNX files.
FROM packages-models AS packages-classifier
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --constraint constraints.txt ".[models,onnx,signals]"

# Triton's server binary with its python backend; its own dependencies would forbid NumPy 2.
FROM packages-models AS packages-triton
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --no-deps --constraint constraints.txt nvidia-pytriton

FROM packages-workers AS build-workers
COPY unitscope unitscope
COPY services services
COPY workers workers
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM packages-linker AS build-linker
COPY unitscope unitscope
COPY services services
COPY workers workers
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM packages-classifier AS build-classifier
COPY unitscope unitscope
COPY services services
COPY workers workers
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

# Triton's model repository is written when the container starts, for what the machine has and the settings
# ask for. Writing it here as well keeps a pack that could not be served from becoming an image.
FROM packages-triton AS build-triton
COPY unitscope unitscope
COPY services services
COPY workers workers
COPY models /models
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /opt/venv/bin/python install --no-deps --force-reinstall . \
    && /opt/venv/bin/unitscope models export-triton /tmp/repository --model avatars/generator --models /models \
    && rm -r /tmp/repository

# What all images have: no pip, an unprivileged user, labels, the model packs.
FROM base AS runtime
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="UnitScope" \
      org.opencontainers.image.description="See, measure and audit what the units of an image classifier have learned." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN python -m pip uninstall --yes setuptools wheel pip \
    && rm -rf "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip"
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
COPY --from=build-classifier /opt/venv /opt/venv
EXPOSE 7401
ENTRYPOINT ["python", "-m", "services.classifier"]

FROM runtime AS linker
COPY --from=build-linker /opt/venv /opt/venv
EXPOSE 7402
ENTRYPOINT ["python", "-m", "services.linker"]

# The generator: a supervisor that runs tritonserver, probes it by small inferences, and starts it anew. It
# needs a /tmp that programs can be run from, and 1 GiB of /dev/shm.
FROM runtime AS triton
COPY --from=build-triton /opt/venv /opt/venv
ENV UNITSCOPE_GENERATOR_SERVER=triton
EXPOSE 7403 7413 7423
ENTRYPOINT ["python", "-m", "services.generator"]

FROM runtime AS worker
COPY --from=build-workers /opt/venv /opt/venv
ENTRYPOINT ["python", "-m", "workers"]
