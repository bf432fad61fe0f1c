"""The real Triton: what its supervisor does when parts of it die, and what is left afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as v2
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, shared_memory
from typer.testing import CliRunner, Result

from services.generator.__main__ import choose
from services.generator.backend import GeneratorBackend
from services.generator.parts.network import PartsNetwork
from services.generator.repository import export_repository
from services.generator.settings import GeneratorSettings
from services.generator.triton_server import Triton, find_triton, remove_leftovers
from services.generator.v2_program import make_server
from tests.support.generator import RunningGenerator, generator_program, wait_until_renders
from unitscope.cli.app import app
from unitscope.errors import FailedPreconditionError, UnavailableError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry
from unitscope.models.v2 import MAX_BATCH, gradient_model, hidden_model, synthesis_model
from unitscope.settings import ModelSettings, ServerSettings

W = np.random.default_rng(6).standard_normal((3, 24)).astype(np.float32)


def _processes(running: RunningGenerator, name: str) -> list[psutil.Process]:
    assert running.process is not None
    found = []
    for process in psutil.Process(running.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # It may end while it is looked at.
            found += [process] if name in process.name() else []
    return found


def _alive(process: psutil.Process) -> bool:
    """Whether it runs: what ended and waits for the system to note it, as orphans may, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.integration
@pytest.mark.parametrize("victim", ["stub", "tritonserver"])
def test_a_killed_process_is_replaced(
    triton: RunningGenerator,
    backend: GeneratorBackend,
    parts_card: ModelCard,
    parts_network: PartsNetwork,
    victim: str,
) -> None:
    killed = _processes(triton, victim)[0]
    killed.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while killed in _processes(triton, victim) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Of every model: that of the stub which was killed may be any of them.
    wait_until_renders(triton.address, [triton.card], parts=[parts_card], gradients=True, hidden=True)
    np.testing.assert_array_equal(triton.render(W), backend.render(W))
    labels = backend.render_parts(W, parts_network)[1]
    np.testing.assert_array_equal(triton.render_parts(W, parts_card)[1], labels)
    assert killed.pid not in {process.pid for process in _processes(triton, victim)}


def _unregister(client: v2.InferenceServerClient, name: str) -> None:
    """Triton lets go of a request, and so of its memory, a moment after it was answered."""
    deadline = time.monotonic() + 20
    while True:
        try:
            client.unregister_system_shared_memory(name)
            return
        except InferenceServerException as error:
            if "in use" not in str(error.message()) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@pytest.mark.integration
def test_w_and_pictures_pass_through_shared_memory(
    triton: RunningGenerator, backend: GeneratorBackend
) -> None:
    """A client on the same machine spares the wire both ways."""
    expected = backend.render(W)
    w = np.ascontiguousarray(W[:, None])
    name = f"unitscope-test-{os.getpid()}"
    region = shared_memory.create_shared_memory_region(name, f"/{name}", w.nbytes + expected.nbytes)
    client = v2.InferenceServerClient(triton.address)
    try:
        client.register_system_shared_memory(name, f"/{name}", w.nbytes + expected.nbytes)
        shared_memory.set_shared_memory_region(region, [w])
        given, wanted = v2.InferInput("w", list(w.shape), "FP32"), v2.InferRequestedOutput("image")
        given.set_shared_memory(name, w.nbytes)
        wanted.set_shared_memory(name, expected.nbytes, offset=w.nbytes)
        answer = client.infer(synthesis_model(triton.card), [given], outputs=[wanted], client_timeout=60)
        assert not any(answer.get_response().raw_output_contents), "no picture came over the wire"
        pictures = shared_memory.get_contents_as_numpy(region, np.uint8, expected.shape, offset=w.nbytes)
        np.testing.assert_array_equal(pictures, expected)
        _unregister(client, name)
    finally:
        client.close()
        shared_memory.destroy_shared_memory_region(region)


@pytest.mark.integration
def test_requests_that_come_together_are_computed_together(
    triton: RunningGenerator, backend: GeneratorBackend
) -> None:
    """By Triton's own count: fewer executions than requests, whose rows are those that were sent."""
    model, expected = synthesis_model(triton.card), backend.render(W)

    def counted() -> tuple[int, int, int]:
        with contextlib.closing(v2.InferenceServerClient(triton.address)) as client:
            (found,) = client.get_inference_statistics(model).model_stats
        return found.inference_stats.success.count, found.inference_count, found.execution_count

    before, began, sent, requests, executions = counted(), time.monotonic(), 0, 0, 0
    # On a busy machine clients may be so slow that 64 requests come one by one.
    while executions == requests and sent < 20 * 64:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda i: triton.render(W[i % 3 : i % 3 + 1]), range(64)))
        assert all((answer == expected[i % 3]).all() for i, answer in enumerate(answers))
        sent += 64
        requests, rows, executions = (now - then for now, then in zip(counted(), before, strict=True))
    # The supervisor's probe asks as well, every few seconds.
    assert sent <= requests == rows < sent + 6 + time.monotonic() - began
    assert executions < requests


@pytest.mark.integration
def test_sigterm_leaves_nothing_behind(pack: Path, triton: RunningGenerator) -> None:
    """A second Triton beside the first: its own processes, shared memory and scratch folder."""
    with generator_program(pack, "triton") as running:
        assert running.process is not None
        family = psutil.Process(running.process.pid).children(recursive=True)
        mark = f"unitscope-triton-{running.process.pid}-"
        assert len(family) == 4, "the server, and a process for each of three models"
        assert [name for name in os.listdir("/dev/shm") if name.startswith(mark)]
    assert running.process.returncode == 0
    psutil.wait_procs(family, timeout=30)  # Killed they are; the kernel may still be at it.
    assert not [process for process in family if _alive(process)]
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(mark)]
    assert _processes(triton, "tritonserver"), "the first one goes on"


def test_leftovers_of_dead_runs_are_removed_and_others_kept() -> None:
    shared = Path("/dev/shm")
    dead = shared / f"unitscope-triton-999999999-{os.getpid()}-leftover"
    earlier = shared / f"unitscope-triton-{os.getpid()}-leftover"  # our id, but no run of ours
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alive = shared / f"unitscope-triton-{other.pid}-test"
        paths = (dead, earlier, alive)
        try:
            for path in paths:
                path.write_bytes(b"x")
            remove_leftovers()
            assert [path.exists() for path in paths] == [False, False, True]
        finally:
            other.kill()
            for path in paths:
                path.unlink(missing_ok=True)


def test_where_no_triton_is_installed_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("services.generator.triton_server._CONTAINER", tmp_path / "none")
    with pytest.raises(UnavailableError, match="pip install --no-deps nvidia-pytriton") as caught:
        find_triton()
    assert caught.value.reason == "TRITON_NOT_FOUND"
    assert choose("auto") is None
    with pytest.raises(UnavailableError):
        choose("triton")


def test_the_repository_describes_all_models(
    pack: Path, card: ModelCard, parts_card: ModelCard, tmp_path: Path
) -> None:
    names = export_repository(Registry(pack), [card], tmp_path, instances=2)
    stem = f"tiny-generator-{card.short_digest}"
    assert names == [f"{stem}-mapping", f"{stem}-synthesis", f"{stem}-parts-{parts_card.short_digest}"]
    labelled = (tmp_path / names[2] / "config.pbtxt").read_text()
    assert 'output [ { name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] } ]' in labelled
    assert 'output [ { name: "labels" data_type: TYPE_UINT8 dims: [ 16, 16 ] } ]' in labelled
    assert "count: 2" in labelled
    assert parts_card.digest in labelled
    assert "PartsModel" in (tmp_path / names[2] / "1" / "model.py").read_text()
    assert "count: 1" in (tmp_path / names[0] / "config.pbtxt").read_text()
    config = (tmp_path / names[1] / "config.pbtxt").read_text()
    assert 'input [ { name: "w" data_type: TYPE_FP32 dims: [ -1, 24 ] } ]' in config
    assert 'output [ { name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 3 ] } ]' in config
    assert 'output [ { name: "float_image" data_type: TYPE_FP32 dims: [ 16, 16, 3 ] } ]' in config
    assert "max_queue_delay_microseconds: 0" in config
    assert "KIND_CPU" in config
    assert "version_policy { latest { num_versions: 1 } }" in config
    assert 'inputs { key: "w" value: { data_type: TYPE_FP32 dims: [ 1, 24 ] zero_data: true } }' in config
    with pytest.raises(FailedPreconditionError, match="rename one"):
        export_repository(Registry(pack), [card, card], tmp_path / "again")


def test_a_repository_for_gpus_serves_gradients_where_asked_to(
    pack: Path, card: ModelCard, tmp_path: Path
) -> None:
    """Read back by the schema of Triton's own configuration."""
    names = export_repository(
        Registry(pack),
        [card],
        tmp_path,
        device="cuda",
        instances=3,
        parts=[],
        gradients=True,
        precision="bfloat16",
    )
    stem = f"tiny-generator-{card.short_digest}"
    assert names == [f"{stem}-{kind}" for kind in ("mapping", "synthesis", "gradient")]
    configs = {}
    for name in names:
        text = (tmp_path / name / "config.pbtxt").read_text()
        configs[name] = text_format.Parse(text, model_config_pb2.ModelConfig())
    for name, config in configs.items():
        assert config.name == name
        assert config.max_batch_size == MAX_BATCH
        (group,) = config.instance_group
        assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        assert group.count == (3 if name.endswith("synthesis") else 1)
        assert config.parameters["device"].string_value == "cuda"
        assert config.parameters["precision"].string_value == "bfloat16"
        assert config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value == "no"
        assert config.version_policy.latest.num_versions == 1
        (warm_up,) = config.model_warmup
        assert warm_up.batch_size == 1
        assert {key: list(value.dims) for key, value in warm_up.inputs.items()} == {
            tensor.name: [max(1, n) for n in tensor.dims] for tensor in config.input
        }
        assert all(value.zero_data for value in warm_up.inputs.values())
    gradient = configs[names[2]]
    assert [(t.name, list(t.dims)) for t in gradient.input] == [("w", [-1, 24]), ("cotangent", [16, 16, 3])]
    assert [(t.name, list(t.dims)) for t in gradient.output] == [("w_cotangent", [-1, 24])]
    assert "GradientModel" in (tmp_path / names[2] / "1" / "model.py").read_text()


def test_hidden_features_are_a_model_that_is_not_batched(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    names = export_repository(Registry(pack), [card], tmp_path, parts=[], hidden=True)
    assert names[-1] == hidden_model(card)
    text = (tmp_path / names[-1] / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [(t.name, list(t.dims)) for t in config.input] == [("w", [-1, -1, 24]), ("projections", [-1, -1])]
    assert [t.name for t in config.output] == ["image", "projected"]
    assert "HiddenModel" in (tmp_path / names[-1] / "1" / "model.py").read_text()


def test_a_card_that_does_not_match_its_tensors_is_served_by_neither(
    pack: Path, card: ModelCard, tmp_path: Path
) -> None:
    """The files are those on the card; the network is another."""
    root = tmp_path / "models"
    shutil.copytree(pack, root)
    spec = card.architecture["spec"] | {"num_classes": 5, "embed_classes": 5}
    wrong = card.model_copy(
        update={"architecture": card.architecture | {"spec": spec}, "classes": (*card.classes, "elm")}
    )
    wrong.save(root.joinpath(*card.name.split("/")))
    registry, models = Registry(root), ModelSettings(root=root)
    says = r"tiny/generator: the weights do not fit .* e\.g\. mapping\.w_avg \(4, 24\) instead of \(5, 24\)"
    starts = {
        "export": lambda: export_repository(registry, [wrong], tmp_path / "repository", parts=[]),
        "v2": lambda: make_server([wrong], models, ServerSettings()),
    }
    with contextlib.suppress(UnavailableError):
        binary = find_triton()
        starts["triton"] = lambda: Triton(binary, [wrong], models, GeneratorSettings(), "127.0.0.1:0")
    for name, start in starts.items():
        with pytest.raises(FailedPreconditionError, match=says) as caught:
            start()
        assert caught.value.reason == "INVALID_WEIGHTS", name
    assert not (tmp_path / "repository").exists()


def _export(pack: Path, card: ModelCard, target: Path, *wished: str) -> Result:
    words = ["models", "export-triton", str(target), "--model", card.name, "--models", str(pack)]
    return CliRunner().invoke(app, [*words, *wished])


def test_the_command_exports_once_or_updates(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    target = tmp_path / "repository"
    target.mkdir()
    done = _export(pack, card, target)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in target.iterdir()) == sorted(done.output.split())
    again = _export(pack, card, target)
    assert again.exit_code == 6
    assert "name a new folder, or give --update" in again.output
    assert _export(pack, card, target, "--update").exit_code == 0
    assert (target / synthesis_model(card) / "2" / "model.py").is_file()
    (tmp_path / "file").write_text("x")
    assert _export(pack, card, tmp_path / "file", "--update").exit_code == 6
    assert "cannot be made" in _export(pack, card, tmp_path / "file" / "below").output


def test_the_command_passes_on_what_it_is_told(pack: Path, card: ModelCard, tmp_path: Path) -> None:
    target = tmp_path / "repository"
    wished = ["--gradients", "--hidden", "--device", "cuda", "--precision", "float32", "--instances", "2"]
    done = _export(pack, card, target, *wished)
    assert done.exit_code == 0, done.output
    assert {gradient_model(card), hidden_model(card)} <= set(done.output.split())
    text = (target / synthesis_model(card) / "config.pbtxt").read_text()
    assert "count: 2 kind: KIND_GPU" in text
    assert 'key: "precision" value: { string_value: "float32" }' in text
    for option, value, says in (("--precision", "int8", "float16"), ("--device", "tpu", "cpu or cuda")):
        refused = _export(pack, card, tmp_path / "none", option, value)
        assert refused.exit_code == 2
        assert says in refused.output
    assert not (tmp_path / "none").exists()
