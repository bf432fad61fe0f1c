"""Whether a generator's weights are those of the network on its card: told from the file's header alone."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from services.generator.configurations import tensor_shapes
from services.generator.specs import NetworkSpec
from unitscope.errors import FailedPreconditionError
from unitscope.models.cards import WEIGHTS_FILE, ModelCard


def check_weights(card: ModelCard, spec: NetworkSpec, folder: Path) -> None:
    """Compares names and shapes of all tensors with those that the spec needs; reads no values.

    Args:
        card: The generator's card.
        spec: The network on it.
        folder: Where the weights lie.

    Raises:
        FailedPreconditionError: They differ, or the file cannot be read (reason INVALID_WEIGHTS); the
            message names the first tensors.
    """
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="numpy") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _invalid(card, f"{WEIGHTS_FILE} cannot be read: {error}") from error
    needed = tensor_shapes(spec)
    if missing := [name for name in needed if name not in found]:
        raise _invalid(card, f"{len(missing)} tensors are missing: {', '.join(missing[:5])}")
    if stray := sorted(found.keys() - needed.keys()):
        raise _invalid(card, f"{len(stray)} tensors have no place in it: {', '.join(stray[:5])}")
    if wrong := [name for name, shape in needed.items() if found[name] != shape]:
        name = wrong[0]
        raise _invalid(
            card, f"{len(wrong)} have another shape, e.g. {name} {found[name]} instead of {needed[name]}"
        )


def _invalid(card: ModelCard, why: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{card.name}: the weights do not fit the spec on the card: {why}; import or train the model again",
        reason="INVALID_WEIGHTS",
        model=card.name,
    )
