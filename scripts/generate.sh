#!/usr/bin/env bash
# Makes the stubs in unitscope/v1 from protos/, or in another folder: scripts/generate.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
"${PYTHON:-.venv/bin/python}" -m grpc_tools.protoc --proto_path=protos \
  --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" protos/unitscope/v1/*.proto
