from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from unitscope.models import InputSpec, LayerCard, ModelCard, Registry

PACKS = Path(__file__).parents[2] / "models"
INPUT = {"height": 8, "width": 6, "mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)}


def card(**fields: object) -> ModelCard:
    values = {
        "name": "a/b", "kind": "classifier", "description": "", "license": "", "architecture": {"name": "x"},
        "files": {}, **fields,
    }  # fmt: skip
    return ModelCard.model_validate(values)


def test_fields_that_came_later_leave_digests_as_they_were() -> None:
    """The digest of this card before there were such fields, from the canonical JSON written out by hand."""
    layer = LayerCard(name="penultimate", units=4, nonnegative=True)
    found = card(input=InputSpec(**INPUT), layers=(layer,))  # type: ignore[arg-type]
    assert json.loads(found.model_dump_json(include={"input", "layers"})) == {
        "input": {"height": 8, "width": 6, "mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]},
        "layers": [{"name": "penultimate", "units": 4, "nonnegative": True, "has_head": False, "module": ""}],
    }


def test_shipped_cards_are_written_as_they_were_read() -> None:
    for found in Registry(PACKS).cards("classifier"):
        kept = json.loads((PACKS / found.name / "card.json").read_bytes())
        again = json.loads(found.model_dump_json())
        assert {key: again[key] for key in ("input", "layers")} == {
            key: kept[key] for key in ("input", "layers")
        }


@pytest.mark.parametrize(
    "change",
    [{"shorter_edge": 10}, {"interpolation": "bicubic"}, {"channels": "bgr"}],
)
def test_preprocessing_is_part_of_the_identity(change: dict[str, object]) -> None:
    plain = card(input=InputSpec(**INPUT))  # type: ignore[arg-type]
    other = card(input=InputSpec.model_validate({**INPUT, **change}))
    assert plain.digest != other.digest
    assert ModelCard.parse(other.model_dump_json().encode(), "x") == other


def test_layouts_are_part_of_the_identity() -> None:
    layer = LayerCard(name="x", units=4, nonnegative=True, layout="tokens", token="class", grid=(2, 3))
    assert card(layers=(layer,)).digest != card(layers=(layer.model_copy(update={"token": "mean"}),)).digest
    assert ModelCard.parse(card(layers=(layer,)).model_dump_json().encode(), "x").layers == (layer,)


@pytest.mark.parametrize("change", [{"shorter_edge": 7}, {"std": (1.0, 0.0, 1.0)}, {"channels": "grb"}])
def test_preprocessing_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputSpec.model_validate({**INPUT, **change})
