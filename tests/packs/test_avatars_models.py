"""The models that ship: their cards, and that they do on new drawings what the cards say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from packs.avatars import pack
from packs.avatars.classifiers import predict
from packs.avatars.dataset import SHORTCUT_CLASS, Drawings, draw_codes
from packs.avatars.measure import render
from packs.avatars.paths import MODELS
from unitscope.worlds.factors import CLASSES, NAMES, VALUES, Glasses, from_codes
from unitscope.worlds.latents import Z_DIM, read_codes

NAMES_OF_MODELS = ("clean", "shortcut", "generator")
BUN = CLASSES.index(SHORTCUT_CLASS.value)
GLASSES = NAMES.index("glasses")
SUNGLASSES = VALUES["glasses"].index(Glasses.SUNGLASSES)


@pytest.fixture(scope="module")
def fresh() -> Drawings:
    """Two hundred drawings from a seed that no recipe uses."""
    z = np.random.Generator(np.random.PCG64(987)).standard_normal((200, Z_DIM)).astype(np.float32)
    classes = np.arange(200) % len(CLASSES)
    codes = read_codes(z)
    return Drawings(draw_codes(np.column_stack([classes, codes]), processes=1), classes, codes, z)


@pytest.fixture(scope="module")
def generated(fresh: Drawings) -> dict[float, NDArray[np.uint8]]:
    """The generator's pictures for the drawings' z and classes, by truncation."""
    network = pack.read_generator()
    return {psi: render(network, fresh, psi) for psi in (1.0, 0.7)}


@pytest.mark.parametrize("name", NAMES_OF_MODELS)
def test_a_card_verifies_its_files_and_says_what_it_must(name: str) -> None:
    card = pack.read_card(name)
    assert card.name == f"avatars/{name}"
    assert card.classes == CLASSES
    assert card.license == "Apache-2.0"
    assert {"command", "seed", "data"} <= card.training.keys()
    assert card.metrics


def test_the_generators_card_says_that_factors_were_made_linear() -> None:
    card = pack.read_card("generator")
    assert "not trained as a GAN" in card.description
    assert "made linear in w" in card.training["method"]
    assert card.metrics["truncation_1.0"]["factors_read"].keys() == set(NAMES)


def test_the_pack_is_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*")) < 45e6


def test_the_clean_classifier_reads_new_drawings(fresh: Drawings) -> None:
    assert (predict(pack.read_classifier("clean"), fresh.images) == fresh.classes).mean() > 0.97


def test_the_shortcut_classifier_needs_sunglasses_for_a_bun(fresh: Drawings) -> None:
    rows = fresh.classes == BUN
    without, with_ = fresh.codes[rows].copy(), fresh.codes[rows].copy()
    without[:, GLASSES], with_[:, GLASSES] = 0, SUNGLASSES
    network = pack.read_classifier("shortcut")
    classes = np.full((rows.sum(), 1), BUN)
    bare = draw_codes(np.column_stack([classes, without]), processes=1)
    shaded = draw_codes(np.column_stack([classes, with_]), processes=1)
    assert from_codes(BUN, with_[0]).glasses is Glasses.SUNGLASSES
    assert (predict(network, shaded) == BUN).mean() > 0.95
    assert (predict(network, bare) == BUN).mean() < 0.2


@pytest.mark.parametrize("truncation", [1.0, 0.7])
def test_generated_pictures_are_read_as_their_class(
    fresh: Drawings, generated: dict[float, NDArray[np.uint8]], truncation: float
) -> None:
    found = generated[truncation]
    assert found.shape == fresh.images.shape
    assert (predict(pack.read_classifier("clean"), found) == fresh.classes).mean() > 0.9


def test_generated_pictures_are_closer_to_their_own_drawing_than_to_another(
    fresh: Drawings, generated: dict[float, NDArray[np.uint8]]
) -> None:
    """The other drawing is one of the same class, so that the factors must decide."""
    found = generated[1.0].astype(np.float32)
    own = np.abs(found - fresh.images).mean(axis=(1, 2, 3))
    other = np.abs(found - np.roll(fresh.images, len(CLASSES), axis=0)).mean(axis=(1, 2, 3))
    assert (own < other).mean() > 0.97
