"""Parts models in a registry: written, read, refused, and left out of what is served."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.generator.backend import GeneratorBackend
from services.generator.parts.cards import parts_of, usable
from services.generator.parts.features import draw_w
from services.generator.parts.network import PartsNetwork
from services.generator.parts.store import load_parts, save_parts
from tests.support.tiny_pack import CLASSIFIER, GENERATOR, PARTS, PARTS_MODEL, tiny_spec
from unitscope.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, file_entry
from unitscope.models.registry import Registry


@pytest.fixture
def root(pack: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pack, tmp_path / "models")


def _network(seed: int = 1, **options: Any) -> PartsNetwork:
    torch.manual_seed(seed)
    return PartsNetwork(tiny_spec(), ("one", "two"), **options).eval().requires_grad_(False)


@pytest.mark.parametrize(
    "options", [{}, {"head": "none"}, {"layers": ["L1_20_8"], "hidden": 5, "dilation": 1}]
)
def test_what_is_saved_is_loaded(
    root: Path, card: ModelCard, backend: GeneratorBackend, options: dict[str, Any]
) -> None:
    network = _network(**options)
    saved = save_parts(root, "mine/parts", network, card, training={"seed": 3}, metrics={"miou": 0.5})
    registry = Registry(root)
    found = registry.resolve("mine/parts", "parts")
    assert found == saved
    assert found.classes == ("one", "two")
    assert found.architecture["generator"] == {"name": GENERATOR, "digest": card.digest}
    loaded = load_parts(found, registry.verified(found), card)
    assert loaded.parts == network.parts
    w = draw_w(backend.network, 5, seed=0).numpy()
    assert (backend.render_parts(w, loaded)[1] == backend.render_parts(w, network)[1]).all()
    assert usable(registry, [card]) == [found, registry.resolve(PARTS_MODEL)]


def test_a_later_model_replaces_an_earlier_one(root: Path, card: ModelCard) -> None:
    first = save_parts(root, "mine/parts", _network(1), card)
    second = save_parts(root, "mine/parts", _network(2), card)
    assert first.digest != second.digest
    assert Registry(root).resolve("mine/parts") == second
    assert sorted(path.name for path in (root / "mine/parts").iterdir()) == ["card.json", WEIGHTS_FILE]


def test_models_of_other_kinds_are_not_replaced(root: Path, card: ModelCard) -> None:
    with pytest.raises(AlreadyExistsError, match="tiny/classifier is a classifier; choose another name"):
        save_parts(root, CLASSIFIER, _network(), card)
    assert Registry(root).resolve(CLASSIFIER).kind == "classifier"


@pytest.mark.parametrize("name", ["parts", "Mine/parts", "../mine/parts", "a/b@sha256:0123456789ab"])
def test_names_that_are_none_are_refused(root: Path, card: ModelCard, name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        save_parts(root, name, _network(), card)
    assert caught.value.reason == "INVALID_MODEL_NAME"


def test_a_model_of_another_generator_is_refused(
    root: Path, card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    other = card.model_copy(update={"files": {}})
    assert other.digest != card.digest
    saved = save_parts(root, "mine/parts", _network(), other)
    with pytest.raises(FailedPreconditionError, match="train it again on this one") as caught:
        load_parts(saved, Registry(root).folder(saved.name), card)
    assert caught.value.reason == "PARTS_OF_ANOTHER_GENERATOR"
    with caplog.at_level(logging.WARNING):
        assert [found.name for found in usable(Registry(root), [card])] == [PARTS_MODEL]
    assert "mine/parts is not served: it belongs to no generator that is served" in caplog.text
    assert parts_of(card, [saved]) == []


CHANGES: dict[str, dict[str, Any]] = {
    "another architecture": {"name": "other"},
    "no generator": {"generator": None},
    "an unknown layer": {"layers": ["L7"]},
    "no layers": {"layers": []},
    "layers of another type": {"layers": "L1_20_8"},
    "hidden of another type": {"hidden": "many"},
    "another head": {"head": "attention"},
    "a head that does not fit": {"head": "none"},
    "another width": {"hidden": 31},
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_card_that_does_not_fit_is_refused_and_left_out(
    root: Path, card: ModelCard, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    saved = save_parts(root, "mine/parts", _network(), card)
    broken = saved.model_copy(update={"architecture": saved.architecture | CHANGES[case]})
    folder = Registry(root).folder(saved.name)
    broken.save(folder)
    with pytest.raises(FailedPreconditionError) as caught:
        load_parts(broken, folder, card)
    assert caught.value.reason in ("UNKNOWN_ARCHITECTURE", "INVALID_WEIGHTS")
    with caplog.at_level(logging.WARNING):
        assert [found.name for found in usable(Registry(root), [card])] == [PARTS_MODEL]
    assert "mine/parts" in caplog.text


def test_damaged_weights_are_left_out(root: Path, card: ModelCard, caplog: pytest.LogCaptureFixture) -> None:
    saved = save_parts(root, "mine/parts", _network(), card)
    path = Registry(root).folder(saved.name) / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [found.name for found in usable(Registry(root), [card])] == [PARTS_MODEL]
    assert "does not match the sha256" in caplog.text


def test_weights_of_another_form_are_left_out(
    root: Path, card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the sha256 is right: a file from elsewhere with a card written for it."""
    saved = save_parts(root, "mine/parts", _network(), card)
    folder = Registry(root).folder(saved.name)
    for content in (b"no safetensors at all", None):
        if content is None:
            state = load_file(root / PARTS_MODEL / WEIGHTS_FILE)
            save_file({name: value for name, value in state.items() if name != "bias"}, folder / WEIGHTS_FILE)
        else:
            (folder / WEIGHTS_FILE).write_bytes(content)
        files = {WEIGHTS_FILE: file_entry(folder / WEIGHTS_FILE)}
        saved.model_copy(update={"files": files}).save(folder)
        assert [found.name for found in usable(Registry(root), [card])] == [PARTS_MODEL]
    assert "cannot be read" in caplog.text
    assert "do not fit the card" in caplog.text


def test_a_model_under_two_names_comes_once(root: Path, card: ModelCard) -> None:
    shutil.copytree(root / PARTS_MODEL, root / "tiny" / "again")
    registry = Registry(root)
    twin = registry.resolve(PARTS_MODEL).model_copy(update={"name": "tiny/again"})
    twin.save(root / "tiny" / "again")
    assert [found.name for found in usable(registry, [card])] == ["tiny/again"]


def test_the_tiny_parts_model(pack: Path, card: ModelCard) -> None:
    found = Registry(pack).resolve(PARTS_MODEL, "parts")
    assert found.classes == PARTS
    assert load_parts(found, Registry(pack).verified(found), card).parts == PARTS
