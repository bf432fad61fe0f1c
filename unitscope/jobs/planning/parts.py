"""The parts model of a job."""

from __future__ import annotations

from unitscope.errors import FailedPreconditionError, NotFoundError
from unitscope.models import ModelCard, Registry


def parts_model(name: str, registry: Registry, generator: ModelCard, field: str) -> ModelCard:
    """The parts model of that name, or without one the first that was made for the generator.

    Raises:
        NotFoundError: There is none (reason NO_PARTS_MODEL).
        FailedPreconditionError: It was made for another generator (PARTS_OF_ANOTHER_GENERATOR).
    """
    if not name:
        for card in registry.cards("parts"):
            if card.architecture["generator"]["digest"] == generator.digest:
                return card
        raise NotFoundError(
            f"there is no parts model for {generator.name}; make one with `unitscope parts train` from a few "
            "labelled pictures, or with `unitscope parts cluster` from none",
            reason="NO_PARTS_MODEL",
            field=field,
            generator=generator.name,
        )
    card = registry.resolve(name, "parts", field)
    made_for = card.architecture["generator"]
    if made_for["digest"] != generator.digest:
        raise FailedPreconditionError(
            f"{card.name} was made for {made_for['name']} {made_for['digest'][:12]}, not {generator.name} "
            f"{generator.short_digest}: name a parts model of this generator, or train one",
            reason="PARTS_OF_ANOTHER_GENERATOR",
            field=field,
            parts=card.name,
            generator=generator.name,
        )
    return card
