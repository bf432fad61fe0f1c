#!/usr/bin/env bash
# Builds one image for each target of the Dockerfile: scripts/images.sh [TARGET...]
#
#   BUILDER="docker build" TAG=0.1.0 scripts/images.sh worker
#   PIP_CONF=pip.conf scripts/images.sh      # packages from the mirror that this file names; it stays outside
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ $# -gt 0 ] || targets=(gateway classifier linker triton worker)
if [ -z "${BUILDER:-}" ]; then
  if command -v docker >/dev/null; then BUILDER="docker build"
  elif command -v podman >/dev/null; then BUILDER="podman build"
  elif command -v buildah >/dev/null; then BUILDER="buildah bud"
  else
    echo "images: none of docker, podman and buildah is installed" >&2
    exit 1
  fi
fi
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for target in "${targets[@]}"; do
  echo "images: unitscope/$target:$tag"
  $BUILDER --target "$target" --build-arg "VERSION=$tag" --build-arg "REVISION=$revision" \
    ${PIP_CONF:+--secret "id=pip,src=$PIP_CONF"} --tag "unitscope/$target:$tag" .
done
