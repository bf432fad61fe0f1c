"""Which generators share one W: told from the tensors of their mapping networks.

StyleGAN-XL trains the mapping network with the smallest stem and freezes it for every super-resolution
stage (arXiv 2202.00273, section 3.2), so that one w means the same picture at every resolution, and a
linker fitted with one of the generators renders with another. Whether two generators are such a family
is computed here from their weights, and never taken from a name or a card::

    require_shared_w(registry, registry.resolve("mine/imagenet64"), registry.resolve("mine/imagenet256"))
    card = with_lineage(card, folder)       # records the digests under metrics.lineage, for readers

Cards record the digests for whoever reads them; a card's own digest does not cover them, since they
follow from the weights, which it covers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from unitscope.errors import DataLossError, FailedPreconditionError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard, canonical_json
from unitscope.models.registry import Registry

PREFIX = "mapping."
MEANS = "mapping.w_avg"
_SETTINGS = ("mapping_layers", "mapping_lr_multiplier")
"""What of a network's spec decides w beside the tensors."""


@dataclass(frozen=True)
class Lineage:
    """What decides a generator's w.

    Attributes:
        mapping: sha256 over the tensors that map z and class to w: the generator's W.
        means: sha256 over the mean w of every class, which truncation pulls towards. Training moves
            them after W is frozen; they decide which w a z gives under truncation, and not what a w means.
    """

    mapping: str
    means: str


def lineage(card: ModelCard, folder: Path) -> Lineage:
    """The lineage of a generator, from its weights.

    Values count, not how they are stored: float16 and float32 tensors of equal values are equal.

    Args:
        card: The generator's card.
        folder: Where its weights lie; only those of the mapping network are read.

    Raises:
        DataLossError: The weights cannot be read.
        FailedPreconditionError: They have no mapping network (reason NO_MAPPING_NETWORK).
    """
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys() if name.startswith(PREFIX)}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError) as error:
        raise DataLossError(
            f"{card.name}: {WEIGHTS_FILE} cannot be read: {error}", model=card.name
        ) from error
    means = {name: tensors.pop(name) for name in (MEANS,) if name in tensors}
    if not tensors or not means:
        raise FailedPreconditionError(
            f"{card.name} has no mapping network among its tensors; it is no generator of StyleGAN-XL",
            reason="NO_MAPPING_NETWORK",
            model=card.name,
        )
    spec = card.architecture.get("spec")
    settings = {name: spec.get(name) for name in _SETTINGS} if isinstance(spec, Mapping) else {}
    return Lineage(mapping=tensors_digest(tensors, settings), means=tensors_digest(means))


def tensors_digest(
    tensors: Mapping[str, NDArray[np.floating]], settings: Mapping[str, object] | None = None
) -> str:
    """The sha256 over named tensors, their shapes and values in float32, in the order of their names.

    Args:
        tensors: Arrays of any shape, by name.
        settings: JSON values that belong to the digest.
    """
    found = hashlib.sha256(canonical_json(dict(settings or {})))
    for name in sorted(tensors):
        # Arrays without dimensions stay so: ascontiguousarray would give them one.
        values = np.asarray(tensors[name]).astype("<f4", order="C")
        found.update(canonical_json([name, list(values.shape)]))
        found.update(values.tobytes())
    return found.hexdigest()


def shares_w(one: Lineage, other: Lineage) -> bool:
    """Whether a w of one generator means the same to the other."""
    return one.mapping == other.mapping


def require_shared_w(
    registry: Registry, fitted: ModelCard, other: ModelCard, field: str = "render_with"
) -> None:
    """Refuses to render w of one generator with another that does not share its W.

    Args:
        registry: Where both lie.
        fitted: The generator whose w are there, e.g. that a linker was fitted with.
        other: The generator that is to render them.
        field: The field of the request that names it.

    Raises:
        FailedPreconditionError: They do not share W (reason W_NOT_SHARED), or not the names and order of
            their classes (CLASSES_DIFFER).
        DataLossError: Weights cannot be read.
    """
    if fitted.digest == other.digest:
        return
    ours, theirs = (lineage(card, registry.folder(card.name)) for card in (fitted, other))
    if not shares_w(ours, theirs):
        raise FailedPreconditionError(
            f"{other.name} does not share the W of {fitted.name}: their mapping networks differ "
            f"({theirs.mapping[:12]} and {ours.mapping[:12]}); render with {fitted.name}, or with a "
            "generator grown from the same stem",
            reason="W_NOT_SHARED",
            field=field,
            fitted=fitted.name,
            other=other.name,
        )
    if fitted.classes != other.classes:
        raise FailedPreconditionError(
            f"{other.name} names its classes otherwise than {fitted.name}; correct the card that is wrong: "
            "generators that share W have one embedding of classes",
            reason="CLASSES_DIFFER",
            field=field,
            fitted=fitted.name,
            other=other.name,
        )


def with_lineage(card: ModelCard, folder: Path) -> ModelCard:
    """The card with its lineage recorded under ``metrics.lineage``; its digest stays.

    Raises:
        UnitScopeError: As `lineage` says.
    """
    found = lineage(card, folder)
    recorded = {"mapping_sha256": found.mapping, "class_means_sha256": found.means}
    return card.model_copy(update={"metrics": {**card.metrics, "lineage": recorded}})
