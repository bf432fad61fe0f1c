"""Running generators for tests: our V2 server in this process, or the real program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as v2

from services.generator.parts.cards import usable
from services.generator.probe import Probe
from services.generator.v2_program import make_server
from unitscope.embedded.ports import free_ports
from unitscope.errors import UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import (
    gradient_model,
    hidden_model,
    mapping_model,
    parts_model,
    synthesis_model,
)
from unitscope.settings import ModelSettings, ServerSettings

ROOT = Path(__file__).parents[2]
TYPES = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8"}
PATIENCE = 240.0
"""Seconds that the program may take to be ready, on a machine that is busy with other things."""


@dataclass
class RunningGenerator:
    """A generator that answers at an address.

    Attributes:
        address: ``host:port`` of its V2 gRPC endpoint.
        card: The first generator that it serves.
        process: The program; None where the server runs in this process.
    """

    address: str
    card: ModelCard
    process: subprocess.Popen[bytes] | None = None

    def infer(self, model: str, output: str, **arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One output of an inference through tritonclient, which raises InferenceServerException."""
        return self.infer_all(model, (output,), **arrays)[0]

    def infer_all(
        self,
        model: str,
        outputs: Sequence[str],
        parameters: dict[str, Any] | None = None,
        **arrays: npt.NDArray[Any],
    ) -> list[npt.NDArray[Any]]:
        """Several outputs, in the order asked for; all, in the server's order, where none is named."""
        with contextlib.closing(v2.InferenceServerClient(self.address)) as client:
            tensors = []
            for name, array in arrays.items():
                tensor = v2.InferInput(name, list(array.shape), TYPES[str(array.dtype)])
                tensor.set_data_from_numpy(array)
                tensors.append(tensor)
            wanted = [v2.InferRequestedOutput(name) for name in outputs] or None
            result = client.infer(
                model, tensors, outputs=wanted, client_timeout=PATIENCE, parameters=parameters
            )
            names = [tensor.name for tensor in result.get_response().outputs]
            assert sorted(names) == sorted(outputs or names)
            return [result.as_numpy(name) for name in outputs or names]

    def map(self, z: npt.NDArray[Any], classes: npt.NDArray[Any], psi: Any) -> npt.NDArray[Any]:
        """Z to w, one truncation for all or one a row."""
        truncation = np.broadcast_to(np.asarray(psi, np.float32).reshape(-1, 1), (len(z), 1)).copy()
        arrays = {"z": z, "class": classes.reshape(-1, 1), "truncation": truncation}
        return self.infer(mapping_model(self.card), "w", **arrays)

    def render(self, w: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Pictures of w ``(batch, w_dim)`` or ``(batch, 1 or num_ws, w_dim)``."""
        rows = w[:, None] if w.ndim == 2 else w
        return self.infer(synthesis_model(self.card), "image", w=np.ascontiguousarray(rows))

    def vjp(self, w: npt.NDArray[Any], cotangent: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cotangents of w, of its shape; for a server of gradients."""
        rows = np.ascontiguousarray(w[:, None] if w.ndim == 2 else w)
        found = self.infer(gradient_model(self.card), "w_cotangent", w=rows, cotangent=cotangent)
        return found.reshape(w.shape)

    def project(
        self, w: npt.NDArray[Any], projections: npt.NDArray[Any], **parameters: Any
    ) -> list[npt.NDArray[Any]]:
        """Pictures of w and projections of hidden features; parameters as `unitscope.models.v2` says."""
        rows = np.ascontiguousarray(w[:, None] if w.ndim == 2 else w)
        outputs = ("image", "projected")
        return self.infer_all(hidden_model(self.card), outputs, parameters, w=rows, projections=projections)

    def render_parts(self, w: npt.NDArray[Any], parts: ModelCard) -> list[npt.NDArray[Any]]:
        """Pictures and labels of w, by a parts model that is served."""
        rows = np.ascontiguousarray(w[:, None] if w.ndim == 2 else w)
        return self.infer_all(parts_model(self.card, parts), ("image", "labels"), w=rows)


@contextlib.contextmanager
def in_process_generator(root: Path) -> Iterator[RunningGenerator]:
    """Our V2 server over a registry folder, gradients and hidden features included, in this process, on a free port."""
    cards = Registry(root).cards("generator")
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    server = make_server(cards, ModelSettings(root=root), settings, gradients=True, hidden=True)
    address = server.start()
    try:
        yield RunningGenerator(address, cards[0])
    finally:
        server.stop()


@contextlib.contextmanager
def generator_program(root: Path, server: str, **environment: str) -> Iterator[RunningGenerator]:
    """The program itself over a registry folder, stopped with SIGTERM at the end.

    Args:
        root: A registry folder.
        server: auto, triton or v2.
        environment: Further settings.
    """
    cards = Registry(root).cards("generator")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "UNITSCOPE_MODELS_ROOT": str(root),
        "UNITSCOPE_MODELS_THREADS": "1",
        "UNITSCOPE_SERVER_LISTEN": address,
        "UNITSCOPE_GENERATOR_HTTP_PORT": "0",
        "UNITSCOPE_GENERATOR_METRICS_PORT": "0",
        **environment,
    }
    command = [sys.executable, "-m", "services.generator", "--server", server]
    extras = {
        name: environment.get(f"UNITSCOPE_GENERATOR_{name.upper()}") == "true"
        for name in ("gradients", "hidden")
    }
    process = subprocess.Popen(command, env=env)
    try:
        wait_until_renders(address, cards, process, usable(Registry(root), cards), **extras)
        yield RunningGenerator(address, cards[0], process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def wait_until_renders(
    address: str,
    cards: list[ModelCard],
    process: subprocess.Popen[bytes] | None = None,
    parts: Sequence[ModelCard] = (),
    gradients: bool = False,
    hidden: bool = False,
) -> None:
    """Waits until every model of a server answers a small inference, those of these parts too."""
    probe = Probe(address, cards, parts=parts, gradients=gradients, hidden=hidden)
    deadline = time.monotonic() + PATIENCE
    try:
        while not _renders(probe):
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"the generator ended with code {process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the generator does not render after {PATIENCE} s")
            time.sleep(0.1)
    finally:
        probe.close()


def _renders(probe: Probe) -> bool:
    """A Triton whose stub was killed says that it is ready, and does not render."""
    try:
        if probe.ready():
            probe.check()
            return True
    except UnavailableError:
        return False
    return False
