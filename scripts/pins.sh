#!/usr/bin/env bash
# Writes constraints.txt from what is installed in .venv: exact versions, without local suffixes.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# The versions that the tests ran with; written by scripts/pins.sh, used by scripts/setup.sh."
  .venv/bin/python -m pip list --format=freeze --exclude unitscope --exclude pip --exclude setuptools |
    sed -E 's/\+[a-z0-9.]+$//' | grep -v -i -E '^(nvidia-(cu|nccl|nv)|cuda-|triton==)' | LC_ALL=C sort -f
} >constraints.txt
