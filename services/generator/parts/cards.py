"""What the card of a parts model says, checked without loading a tensor library.

A parts model is an addition to a generator that serves well without it: whoever launches servers asks
`usable` first, so that a model that cannot be loaded is left out and takes nothing down with it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, TypeGuard

from safetensors import SafetensorError, safe_open

from services.generator.specs import NetworkSpec
from unitscope.errors import DataLossError, FailedPreconditionError, UnitScopeError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard
from unitscope.models.registry import Registry

ARCHITECTURE = "feature-parts"
HEADS = ("convolution", "none")

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Described:
    """The architecture on a card; see `PartsNetwork` for what the values mean."""

    layers: tuple[str, ...]
    hidden: int
    head: str
    dilation: int

    def shapes(self, spec: NetworkSpec, parts: int) -> dict[str, list[int]]:
        """Shapes of the weights by key, for a generator and a number of parts."""
        channels = {layer.name: layer.out_channels for layer in spec.layers}
        found = {f"project.{name}": [self.hidden, channels[name]] for name in self.layers}
        found["bias"] = [self.hidden]
        if self.head == "convolution":
            found |= {"mix.weight": [self.hidden, self.hidden, 3, 3], "mix.bias": [self.hidden]}
            found |= {"logits.weight": [parts, self.hidden, 1, 1], "logits.bias": [parts]}
        return found


def describe(card: ModelCard, generator: ModelCard) -> Described:
    """Reads the architecture on a card, and checks that it is one for this generator.

    Raises:
        FailedPreconditionError: It belongs to another generator (PARTS_OF_ANOTHER_GENERATOR), or it
            is no parts model of ours (UNKNOWN_ARCHITECTURE).
    """
    found = generator_digest(card)
    if found != generator.digest:
        raise FailedPreconditionError(
            f"{card.name} reads the features of another generator (digest {found[:12]}) than "
            f"{generator.name} is ({generator.short_digest}); train it again on this one",
            reason="PARTS_OF_ANOTHER_GENERATOR",
            model=card.name,
            generator=generator.name,
            expected=found,
            actual=generator.digest,
        )
    values = card.architecture
    layers, hidden, head = values.get("layers"), values.get("hidden"), values.get("head")
    dilation = values.get("dilation", 1)
    known = {layer["name"] for layer in generator.architecture["spec"]["layers"]}
    if not isinstance(layers, list) or not layers or not known.issuperset(layers):
        raise _unknown(card, f"the layers {layers!r}")
    if not _count(hidden) or not _count(dilation) or head not in HEADS:
        raise _unknown(card, f"hidden {hidden!r}, dilation {dilation!r} and head {head!r}")
    if head == "none" and hidden != len(card.classes):
        raise _unknown(card, f"{hidden} channels for {len(card.classes)} parts and no head")
    return Described(tuple(layers), hidden, head, dilation)


def generator_digest(card: ModelCard) -> str:
    """The digest of the generator whose features a parts model reads.

    Raises:
        FailedPreconditionError: The card says none (UNKNOWN_ARCHITECTURE).
    """
    generator = card.architecture.get("generator")
    name = card.architecture.get("name")
    if card.kind != "parts" or name != ARCHITECTURE or not isinstance(generator, dict):
        raise _unknown(card, f"the architecture {name!r}")
    return str(generator.get("digest", ""))


def usable(registry: Registry, generators: Sequence[ModelCard]) -> list[ModelCard]:
    """The registry's parts models that belong to one of these generators and can be loaded.

    The others are left out with a logged warning. A model that is there under two names is the same
    model, and comes once.
    """
    by_digest = {card.digest: card for card in generators}
    found: dict[str, ModelCard] = {}
    for card in registry.cards("parts"):
        try:
            generator = by_digest.get(generator_digest(card))
            if generator is None:
                log.warning("%s is not served: it belongs to no generator that is served", card.name)
                continue
            _check_weights(registry, card, generator)
        except UnitScopeError as error:
            log.warning("%s is not served: %s", card.name, error.message)
            continue
        found.setdefault(card.digest, card)
    return list(found.values())


def parts_of(generator: ModelCard, parts: Sequence[ModelCard]) -> list[ModelCard]:
    """Those of some parts models that belong to a generator."""
    return [card for card in parts if generator_digest(card) == generator.digest]


def _check_weights(registry: Registry, card: ModelCard, generator: ModelCard) -> None:
    folder = registry.verified(card)
    spec = NetworkSpec.from_dict(generator.architecture["spec"])
    wanted = describe(card, generator).shapes(spec, len(card.classes))
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="np") as file:
            shapes = {key: list(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataLossError(f"{card.name}: the weights cannot be read: {error}") from error
    if shapes != wanted:
        raise FailedPreconditionError(
            f"{card.name}: the weights do not fit the card; train the parts model again",
            reason="INVALID_WEIGHTS",
            model=card.name,
        )


def _count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _unknown(card: ModelCard, what: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{card.name} has {what}; a parts model's is {ARCHITECTURE!r} with a generator, some of its "
        "layers, hidden channels, a dilation and a head",
        reason="UNKNOWN_ARCHITECTURE",
        model=card.name,
    )
