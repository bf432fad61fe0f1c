"""The synthesis network for other runtimes: `torch.export` and ONNX, with any number of rows.

What is exported reads w for the input and every layer and writes the float picture, from which pixels
follow as `unitscope.models.v2` says::

    w      float32 (rows, num_ws, w_dim)
    image  float32 (rows, 3, resolution, resolution), nominally in [-1, 1], neither clipped nor rounded

It holds matrix products, convolutions, leaky ReLU and clamps, no operation of our own. The mapping network
is not part of it: w comes from the generator's service or from `GeneratorBackend.map`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from services.generator.network import StyleGanXl, Synthesis
from unitscope.errors import AlreadyExistsError, DataLossError, FailedPreconditionError
from unitscope.models.onnx_runtime import onnxruntime

if TYPE_CHECKING:
    from torch.export import ExportedProgram

ROWS = (1, 2, 5)
"""How many rows an export is tried with."""

TOLERANCE = 1e-3
"""The most that a float picture of an export may differ from ours: an eighth of a level of 255."""

EXTERNAL_BYTES = 3 << 29
"""Weights of so many bytes lie in a file of their own: an ONNX file cannot hold 2 GiB."""


class _Rendering(nn.Module):
    """From w+ to the float picture, and nothing else."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, w: Tensor) -> Tensor:
        images: Tensor = self.synthesis(w)
        return images


def export_program(network: StyleGanXl) -> ExportedProgram:
    """Exports the synthesis network, weights included, with a dynamic number of rows.

    Args:
        network: A generator on the CPU.

    Returns:
        The program; its module maps w to image as this module's docstring says.
    """
    spec = network.spec
    rendering = _Rendering(network.synthesis).eval().requires_grad_(False)
    rows = torch.export.Dim("rows", min=1)
    example = torch.zeros(2, spec.num_ws, spec.w_dim)
    return torch.export.export(rendering, (example,), dynamic_shapes={"w": {0: rows}})


def export_onnx(network: StyleGanXl, path: Path) -> float:
    """Writes the synthesis network as ONNX and checks it against onnxruntime.

    Args:
        network: A generator on the CPU.
        path: A new file; weights of 1.5 GB and more go to a second one beside it, ``<path>.data``.

    Returns:
        The largest absolute difference between onnxruntime's float pictures and ours, over random w in
        requests of `ROWS` rows.

    Raises:
        AlreadyExistsError: The file is there already (reason FILE_EXISTS).
        FailedPreconditionError: onnx, onnxscript or onnxruntime is not installed (EXTRA_NOT_INSTALLED).
        DataLossError: The file renders other pictures (EXPORT_DIFFERS); it is not kept.
    """
    _check_installed()
    if path.exists():
        raise AlreadyExistsError(
            f"{path} exists; name a new file", reason="FILE_EXISTS", field="path", path=str(path)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        written = Path(scratch) / path.name
        _write(network, written)
        difference = onnx_difference(network, written)
        if not difference <= TOLERANCE:
            raise DataLossError(
                f"onnxruntime renders pictures that differ by up to {difference:g} from ours; at most "
                f"{TOLERANCE:g} is accepted, and the file was not kept",
                reason="EXPORT_DIFFERS",
            )
        # The network's own file last: whoever sees it finds its weights.
        for file in sorted(Path(scratch).iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.parent / file.name)
    return difference


def onnx_difference(network: StyleGanXl, path: Path) -> float:
    """The largest absolute difference of onnxruntime's float pictures from ours; see `export_onnx`."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    found = 0.0
    for rows in ROWS:
        w = rng.standard_normal((rows, network.spec.num_ws, network.spec.w_dim)).astype(np.float32)
        (theirs,) = session.run(["image"], {"w": w})
        with torch.inference_mode():
            ours = network.synthesis(torch.from_numpy(w)).numpy()
        # NaN is a difference, hence not max().
        found = float(np.max([found, np.abs(theirs - ours).max()]))
    return found


def _write(network: StyleGanXl, path: Path) -> None:
    weights = sum(value.numel() * value.element_size() for value in network.synthesis.state_dict().values())
    # Of its own parts that will change some day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            export_program(network),
            dynamo=True,
            input_names=["w"],
            output_names=["image"],
            verbose=False,
            optimize=True,
        )
    assert program is not None, "an exporter that returns nothing has been given a file"
    program.save(path, external_data=weights >= EXTERNAL_BYTES)


def _check_installed() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        raise FailedPreconditionError(
            f"{', '.join(missing)} is needed for ONNX and not installed: pip install 'unitscope[onnx]'",
            reason="EXTRA_NOT_INSTALLED",
        )
