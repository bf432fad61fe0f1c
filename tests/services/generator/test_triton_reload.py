"""A model repository that is exported again under a running Triton: no request is lost."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as v2
from google.protobuf import text_format
from safetensors.torch import load_file, save_file
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from services.generator.backend import GeneratorBackend
from services.generator.repository import export_repository
from services.generator.triton_server import find_triton
from tests.support.triton import triton_over
from unitscope.errors import UnavailableError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.registry import Registry
from unitscope.models.v2 import synthesis_model

W = np.random.default_rng(31).standard_normal((4, 24)).astype(np.float32)


def _infer(client: Any, model: str, w: npt.NDArray[np.float32]) -> Any:
    tensor = v2.InferInput("w", [len(w), 1, 24], "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(w[:, None]))
    return client.infer(model, [tensor], client_timeout=60)


class Clients:
    """Four clients that ask for pictures without a pause, and keep what they were told."""

    def __init__(self, address: str, model: str, expected: npt.NDArray[np.uint8]) -> None:
        self.versions: list[tuple[int, str]] = []
        """How many answers there were when a request was begun, and the version that answered it."""
        self._address, self._model, self._expected = address, model, expected
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(4)
        self._running: list[Future[None]] = [self._pool.submit(self._ask, row) for row in range(4)]

    def _ask(self, row: int) -> None:
        with contextlib.closing(v2.InferenceServerClient(self._address)) as client:
            while not self._ended.is_set():
                began = len(self.versions)
                answer = _infer(client, self._model, W[row : row + 1])
                np.testing.assert_array_equal(answer.as_numpy("image"), self._expected[row : row + 1])
                self.versions.append((began, answer.get_response().model_version))

    def wait_for(self, more: int) -> None:
        """Waits until so many further answers have come, or a client has failed."""
        wanted, pause = len(self.versions) + more, threading.Event()
        while len(self.versions) < wanted and not any(future.done() for future in self._running):
            pause.wait(0.01)

    def end(self) -> None:
        """Ends them; raises what any of them met."""
        self._ended.set()
        self._pool.shutdown()
        for future in self._running:
            future.result()


@pytest.fixture
def changed(pack: Path, card: ModelCard, tmp_path: Path) -> Registry:
    """A registry whose generator of the same name has other weights."""
    root = tmp_path / "changed"
    shutil.copytree(pack, root)
    folder = root.joinpath(*card.name.split("/"))
    weights = load_file(folder / WEIGHTS_FILE)
    weights["synthesis.input.weight"] = weights["synthesis.input.weight"].flip(0).contiguous()
    save_file(weights, folder / WEIGHTS_FILE)
    card.model_copy(update={"files": {WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)}}).save(folder)
    return Registry(root)


@pytest.fixture
def client_of() -> Iterator[Callable[[str], Any]]:
    with contextlib.ExitStack() as stack:
        yield lambda address: stack.enter_context(contextlib.closing(v2.InferenceServerClient(address)))


@pytest.mark.integration
def test_a_repository_exported_again_is_taken_over_without_losing_a_request(
    pack: Path,
    card: ModelCard,
    backend: GeneratorBackend,
    changed: Registry,
    client_of: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    """First another version of a model under load, then another model beside it, then the first one ends."""
    try:
        find_triton()
    except UnavailableError as error:
        pytest.skip(error.message)
    repository, model = tmp_path / "repository", synthesis_model(card)
    export_repository(Registry(pack), [card], repository, threads=1, parts=[])
    flags = ("--model-control-mode=explicit", f"--load-model={model}")
    with triton_over(repository, tmp_path, *flags) as address:
        clients, client = Clients(address, model, backend.render(W)), client_of(address)
        clients.wait_for(8)
        export_repository(Registry(pack), [card], repository, threads=1, parts=[], precision="float32")
        client.load_model(model, client_timeout=120)
        taken_over = len(clients.versions)
        clients.wait_for(16)

        new = changed.resolve(card.name)
        export_repository(changed, [new], repository, threads=1, parts=[])
        client.load_model(synthesis_model(new), client_timeout=120)
        other = _infer(client, synthesis_model(new), W).as_numpy("image")
        clients.wait_for(8)
        clients.end()
        assert {version for _, version in clients.versions} == {"1", "2"}
        # What was under way at that moment may have either.
        assert {version for began, version in clients.versions if began > taken_over} == {"2"}
        assert client.get_model_config(model, as_json=True)["config"]["parameters"]["precision"] == {
            "string_value": "float32"
        }
        loaded = GeneratorBackend.load(new, changed.verified(new))
        np.testing.assert_array_equal(other, loaded.render(W))
        assert (other != backend.render(W)).any()

        client.unload_model(model)
        with pytest.raises(InferenceServerException, match=r"not found|not ready|no available versions"):
            _infer(client, model, W)
        np.testing.assert_array_equal(_infer(client, synthesis_model(new), W).as_numpy("image"), other)


def test_exporting_again_adds_a_version_and_keeps_what_is_there(
    pack: Path, card: ModelCard, tmp_path: Path
) -> None:
    names = export_repository(Registry(pack), [card], tmp_path, parts=[])
    again = export_repository(Registry(pack), [card], tmp_path, parts=[], instances=3, hidden=True)
    assert again == [*names, f"tiny-generator-{card.short_digest}-hidden"]
    for name, versions in {names[0]: ["1", "2"], names[1]: ["1", "2"], again[2]: ["1"]}.items():
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [*versions, "config.pbtxt"]
        assert all((tmp_path / name / version / "model.py").is_file() for version in versions)
    config = (tmp_path / names[1] / "config.pbtxt").read_text()
    parsed = text_format.Parse(config, model_config_pb2.ModelConfig())
    assert parsed.instance_group[0].count == 3
    assert parsed.version_policy.latest.num_versions == 1
