from __future__ import annotations

import fcntl
import hashlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from services.generator.backend import GeneratorBackend
from services.generator.importing.importer import import_stylegan_xl
from services.generator.importing.scratch import scratch_folder
from services.generator.network import to_uint8
from tests.services.generator.golden import (
    RESOLUTIONS,
    golden_io,
    golden_network,
    golden_spec,
    golden_weights,
)
from tests.services.generator.importing.hostile import changed
from tests.services.generator.importing.official import (
    Options,
    blob,
    checkpoint_bytes,
    generator,
    storage,
    tensor,
)
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry

NAME = "official/tiny"


def imported(tmp_path: Path, data: bytes, name: str = NAME) -> tuple[ModelCard, Path]:
    file = tmp_path / "official.pkl"
    file.write_bytes(data)
    root = tmp_path / "models"
    return import_stylegan_xl(file, root, name=name), root


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_an_official_file_becomes_the_network_that_it_came_from(tmp_path: Path, resolution: int) -> None:
    card, root = imported(tmp_path, checkpoint_bytes(resolution))
    assert Registry(root).resolve(NAME, "generator") == card
    folder = Registry(root).verified(card)
    assert json.dumps(card.architecture["spec"], sort_keys=True) == json.dumps(
        golden_spec(resolution).to_dict(), sort_keys=True
    )
    weights, expected = load_file(folder / "model.safetensors"), golden_weights(resolution)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    backend = GeneratorBackend.load(card, folder, threads=1)
    original = GeneratorBackend(golden_network(resolution))
    golden = golden_io(resolution)
    z, classes = golden["z"].numpy(), golden["class_index"].numpy()
    pictures = backend.render(backend.map(z, classes, 0.7))
    assert np.array_equal(pictures, original.render(original.map(z, classes, 0.7)))
    assert np.abs(pictures.astype(int) - to_uint8(golden["image_psi0.7"]).numpy()).max() <= 1


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dill", [True, False])
def test_every_protocol_says_the_same(tmp_path: Path, protocol: int, dill: bool) -> None:
    package = "numpy._core" if dill else "numpy.core"
    options = Options(protocol=protocol, dill=dill, numpy_package=package, location="cuda:7")
    card, root = imported(tmp_path, checkpoint_bytes(16, options))
    weights, expected = load_file(Registry(root).verified(card) / "model.safetensors"), golden_weights(16)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    card, root = imported(tmp_path, checkpoint_bytes(16, Options(dtype=dtype)))
    weights, expected = load_file(Registry(root).verified(card) / "model.safetensors"), golden_weights(16)
    assert all(torch.equal(weights[name], expected[name].to(dtype).float()) for name in expected)
    assert card.training["source_precision"] == [str(dtype).removeprefix("torch.")]


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_share_a_storage(tmp_path: Path, protocol: int) -> None:
    options, values = Options(protocol=protocol), torch.arange(140.0)
    stored = storage(values, options)

    def change(state: dict[str, Any]) -> None:
        for name, offset in (("fc0", 5), ("fc1", 76)):
            layer = state["_modules"][name].args[0]["state"]["_parameters"]
            layer["bias"] = tensor(values[:64], options, stored=stored, offset=offset)

    card, root = imported(tmp_path, changed(change, "mapping", protocol=protocol))
    weights = load_file(Registry(root).verified(card) / "model.safetensors")
    assert torch.equal(weights["mapping.fc0.bias"], values[5:69])
    assert torch.equal(weights["mapping.fc1.bias"], values[76:])


def test_a_blob_of_the_tests_is_one_of_pytorch() -> None:
    values = torch.arange(5, dtype=torch.float16)
    read = torch.load(io.BytesIO(blob(values, "cpu")), weights_only=False)
    assert torch.equal(torch.frombuffer(bytearray(bytes(read._untyped_storage)), dtype=torch.float16), values)


def test_the_card_says_where_the_weights_came_from(tmp_path: Path) -> None:
    data = checkpoint_bytes(32)
    card, _ = imported(tmp_path, data, "bare")
    assert card.name == "stylegan-xl/bare"
    assert card.training["source_sha256"] == hashlib.sha256(data).hexdigest()
    assert card.training["source_class"] == "SuperresGenerator"
    assert card.classes == tuple(str(i) for i in range(10))
    assert card.metrics["parameters"] == sum(p.numel() for p in golden_network(32).parameters())


def test_a_grown_checkpoint_is_told_to_share_w_with_its_stem(tmp_path: Path) -> None:
    stem = golden_weights(16)
    frozen = {name: value for name, value in stem.items() if name.startswith("mapping.")}
    grown = generator(32, Options(), golden_weights(32) | frozen)
    cards = [
        imported(tmp_path, data, f"family/{name}")[0].metrics["lineage"]["mapping_sha256"]
        for name, data in {
            "stem": checkpoint_bytes(16),
            "grown": checkpoint_bytes(32, G_ema=grown),
            "other": checkpoint_bytes(32),
        }.items()
    ]
    assert cards[0] == cards[1] != cards[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("z_dim", [64, 24])
def test_a_generator_without_classes_gets_one(tmp_path: Path, z_dim: int, dtype: torch.dtype) -> None:
    """Also StyleGAN3's, whose layers are ours."""
    draw = torch.Generator().manual_seed(0)
    first, mean = torch.randn(64, z_dim, generator=draw) * 100, torch.randn(64, generator=draw)
    options = Options(dtype=dtype)
    first, mean = first.to(dtype).float(), mean.to(dtype).float()

    def change(state: dict[str, Any]) -> None:
        for name in ("embed", "embed_proj"):
            del state["_modules"][name]
        state["_buffers"]["w_avg"] = tensor(mean, options)
        state["_modules"]["fc0"].args[0]["state"]["_parameters"]["weight"] = tensor(first, options)

    card, root = imported(tmp_path, changed(change, "mapping", dtype=dtype))
    backend = GeneratorBackend.load(card, Registry(root).verified(card))
    z = torch.randn(5, z_dim, generator=draw)
    old = {name: value.to(dtype).float() for name, value in golden_weights(16).items()}
    x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for i, weight in enumerate((first, old["mapping.fc1.weight"])):
        x = x @ (weight * 0.01 / weight.shape[1] ** 0.5).T + old[f"mapping.fc{i}.bias"] * 0.01
        x = torch.nn.functional.leaky_relu(x, 0.2) * 2**0.5
    classes = np.zeros(5, np.int64)
    np.testing.assert_allclose(backend.map(z.numpy(), classes), x, atol=1e-5)
    np.testing.assert_allclose(backend.map(z.numpy(), classes, 0.5), (x + mean) / 2, atol=1e-5)


def test_a_model_is_listed_when_it_is_complete_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, rename = tmp_path / "models", Path.rename
    seen: list[int] = []

    def full(path: Path, target: Path) -> Path:
        seen.extend((len(list(path.iterdir())), len(Registry(root).cards())))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(FailedPreconditionError, match=r"cannot be written to .*No space left"):
        imported(tmp_path, checkpoint_bytes(16))
    assert seen == [2, 0]
    assert not [path for path in root.rglob("*") if path.is_file()]
    monkeypatch.setattr(Path, "rename", rename)
    imported(tmp_path, checkpoint_bytes(16))
    assert len(Registry(root).cards()) == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from services.generator.importing import importer
importer.with_lineage = lambda card, folder: os.kill(os.getpid(), signal.SIGKILL)
importer.import_stylegan_xl(Path(sys.argv[1]), Path(sys.argv[2]), name="a/killed")
"""


def test_what_a_killed_import_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    """And the folder of one that runs is left alone."""
    file, root = tmp_path / "official.pkl", tmp_path / "models"
    file.write_bytes(checkpoint_bytes(16))
    done = subprocess.run([sys.executable, "-c", _KILLED, file, root], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (left,) = root.glob(".importing-*")
    assert (left / "new" / "model" / "model.safetensors").is_file()
    assert not Registry(root).cards()
    with scratch_folder(root) as running:
        assert not left.exists()
        (running / "work").write_text("in progress")
        imported(tmp_path, checkpoint_bytes(16), "a/next")
        assert (running / "work").is_file()
    assert sorted(path.name for path in root.iterdir()) == ["a"]


def test_a_folder_that_was_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making it and locking it another import may look."""
    lock, taken = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.glob(".importing-*"))
            taken[0].rmdir()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert folder != taken[0]
    assert not list(tmp_path.iterdir())


def test_names_are_checked_before_the_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        import_stylegan_xl(tmp_path / "absent.pkl", tmp_path, name="a/b")
    data = checkpoint_bytes(16)
    imported(tmp_path, data)
    with pytest.raises(AlreadyExistsError, match="already"):
        imported(tmp_path, b"")
    with pytest.raises(InvalidArgumentError, match="is no model name"):
        imported(tmp_path, b"", "../evil")
    (tmp_path / "official.pkl").write_bytes(data)
    with pytest.raises(InvalidArgumentError) as raised:
        import_stylegan_xl(tmp_path / "official.pkl", tmp_path / "models", name="a/b", classes=["one"])
    assert raised.value.reason == "CLASS_COUNT"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["official"]
