"""Which generators share W, told from tensors alone."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from services.generator.backend import GeneratorBackend
from tests.support.grown import GROWN, grown_network, write_grown
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, write_tiny_pack
from unitscope.errors import DataLossError, FailedPreconditionError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard
from unitscope.models.lineage import (
    Lineage,
    lineage,
    require_shared_w,
    shares_w,
    tensors_digest,
    with_lineage,
)
from unitscope.models.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    root = write_tiny_pack(tmp_path_factory.mktemp("models"))
    write_grown(root)
    return Registry(root)


def lineage_of(registry: Registry, name: str) -> Lineage:
    return lineage(registry.resolve(name), registry.folder(name))


def changed(registry: Registry, folder: Path, key: str, factor: float = 1.0) -> Lineage:
    """The lineage of the tiny generator with one tensor changed and all others kept."""
    tensors = load_file(registry.folder(GENERATOR) / WEIGHTS_FILE)
    tensors[key] = tensors[key] * factor + (0 if factor != 1 else 1e-6)
    save_file(tensors, folder / WEIGHTS_FILE)
    return lineage(registry.resolve(GENERATOR), folder)


def test_a_stage_shares_the_w_of_its_stem(registry: Registry) -> None:
    stem, grown = lineage_of(registry, GENERATOR), lineage_of(registry, GROWN)
    assert registry.resolve(GENERATOR).digest != registry.resolve(GROWN).digest
    assert shares_w(stem, grown)
    assert stem == grown
    require_shared_w(registry, registry.resolve(GENERATOR), registry.resolve(GROWN))
    backends = [
        GeneratorBackend.load(registry.resolve(name), registry.verified(registry.resolve(name)))
        for name in (GENERATOR, GROWN)
    ]
    z = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    w, again = (backend.map(z, np.arange(3), 0.7) for backend in backends)
    np.testing.assert_array_equal(w, again)
    assert [backend.render(w).shape[1] for backend in backends] == [16, 32]


@pytest.mark.parametrize("key", ["mapping.embed.weight", "mapping.embed_proj.bias", "mapping.fc1.weight"])
def test_any_tensor_that_decides_w_counts(registry: Registry, tmp_path: Path, key: str) -> None:
    assert not shares_w(lineage_of(registry, GENERATOR), changed(registry, tmp_path, key))


def test_means_and_synthesis_do_not_decide_what_a_w_is(registry: Registry, tmp_path: Path) -> None:
    stem = lineage_of(registry, GENERATOR)
    means = changed(registry, tmp_path, "mapping.w_avg")
    assert shares_w(stem, means)
    assert stem.means != means.means
    assert changed(registry, tmp_path, "synthesis.input.weight", 2.0) == stem


def test_a_setting_that_decides_w_counts(registry: Registry) -> None:
    card = registry.resolve(GENERATOR)
    spec = {**card.architecture["spec"], "mapping_lr_multiplier": 0.02}
    other = card.model_copy(update={"architecture": {**card.architecture, "spec": spec}})
    assert not shares_w(lineage_of(registry, GENERATOR), lineage(other, registry.folder(GENERATOR)))


def test_half_precision_of_equal_values_is_equal() -> None:
    wide = {"b": np.array([[0.5, -2.0]], np.float32), "a": np.array(3.0, np.float32)}
    half = {name: wide[name].astype(np.float16) for name in sorted(wide)}
    assert tensors_digest(wide) == tensors_digest(half)
    assert tensors_digest(wide) != tensors_digest({**wide, "b": wide["b"].T})
    assert tensors_digest(wide) != tensors_digest({**wide, "a": np.array([3.0], np.float32)})
    assert tensors_digest(wide) != tensors_digest({"c": wide["b"], "a": wide["a"]})


def test_the_digest_is_of_the_stated_bytes() -> None:
    """The canonical form, so that another program can compute it."""
    values = np.array([[1.0, 2.0, 4.0]], np.float32)
    stated = b"{}" + b'["mapping.x",[1,3]]' + values.tobytes()
    assert tensors_digest({"mapping.x": values}) == hashlib.sha256(stated).hexdigest()


def test_the_card_records_it_and_keeps_its_digest(registry: Registry) -> None:
    card, found = registry.resolve(GENERATOR), lineage_of(registry, GENERATOR)
    recorded = with_lineage(card, registry.folder(GENERATOR))
    assert recorded.digest == card.digest
    assert recorded.metrics["lineage"] == {
        "mapping_sha256": found.mapping,
        "class_means_sha256": found.means,
    }
    assert registry.resolve(GROWN).metrics["lineage"] == recorded.metrics["lineage"]


def test_another_mapping_network_is_refused_whatever_its_card_says(registry: Registry) -> None:
    network = grown_network(registry.root)
    with torch.no_grad():
        network.mapping.fc0.bias.add_(1)  # type: ignore[operator, union-attr]
    stranger = write_grown(registry.root, network, "tiny/stranger")
    claimed = registry.resolve(GROWN).metrics["lineage"]
    stranger = stranger.model_copy(update={"metrics": {"lineage": claimed}})
    with pytest.raises(FailedPreconditionError, match="does not share the W of tiny/generator") as caught:
        require_shared_w(registry, registry.resolve(GENERATOR), stranger, "spec.traverse.render_with")
    assert caught.value.reason == "W_NOT_SHARED"
    assert caught.value.violations[0][0] == "spec.traverse.render_with"


def test_other_names_of_classes_are_refused(registry: Registry) -> None:
    card = write_grown(registry.root, None, "tiny/renamed", ("birch", "ash", "cedar", "dogwood"))
    with pytest.raises(FailedPreconditionError) as caught:
        require_shared_w(registry, registry.resolve(GENERATOR), card)
    assert caught.value.reason == "CLASSES_DIFFER"


def test_what_has_no_mapping_network_is_refused(registry: Registry) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        lineage_of(registry, CLASSIFIER)
    assert caught.value.reason == "NO_MAPPING_NETWORK"


def test_weights_that_cannot_be_read_are_told(registry: Registry, tmp_path: Path) -> None:
    card: ModelCard = registry.resolve(GENERATOR)
    with pytest.raises(DataLossError, match="cannot be read"):
        lineage(card, tmp_path)
    shutil.copy(registry.folder(GENERATOR) / WEIGHTS_FILE, tmp_path)
    whole = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(whole[:200])
    with pytest.raises(DataLossError, match="cannot be read"):
        lineage(card, tmp_path)
