"""onnxruntime is told to report nothing, before it is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from unitscope.models.onnx_runtime import onnxruntime
assert "onnxruntime" not in sys.modules
onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"], "onnxruntime" in sys.modules)
"""


def test_telemetry_is_off() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1", "True"], done.stderr


def test_nobody_imports_it_another_way() -> None:
    pattern = re.compile(r"^\s*(import|from) onnxruntime|import_module\(.onnxruntime", re.MULTILINE)
    files = [file for name in ("services", "unitscope", "workers") for file in (ROOT / name).rglob("*.py")]
    found = {file.name for file in files if pattern.search(file.read_text())}
    assert found == {"onnx_runtime.py"}
