"""The self-test of a classifier: images, and the logits that it gave for them where it came from.

Whoever imports a classifier knows best what it should say. Given examples are kept beside the card, under
its digest, and every process that loads the model compares before it serves.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from unitscope.errors import FailedPreconditionError, InvalidArgumentError

EXAMPLES_FILE = "examples.safetensors"
MAX_EXAMPLES = 32
MAX_BYTES = 64 << 20
TOLERANCE = 0.01
"""The most that a logit may differ: far above what another machine or runtime changes, far below what another
preprocessing does."""


class Reads(Protocol):
    """What has features and logits to say about images; see `services.classifier.classifier.Reading`."""

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """float32 ``(batch, classes)``."""


class Reader(Protocol):
    """A classifier."""

    def read(self, images: npt.NDArray[np.uint8]) -> Reads:
        """Reads images, uint8 ``(batch, height, width, 3)``."""


@dataclass(frozen=True)
class Examples:
    """Images and their logits.

    Attributes:
        images: uint8 ``(count, height, width, 3)``, before any preprocessing.
        logits: float32 ``(count, classes)``.
        tolerance: The most that a logit may differ.
    """

    images: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]
    tolerance: float = TOLERANCE

    def save(self, path: Path) -> None:
        """Writes them as safetensors."""
        save_file(
            {"images": np.ascontiguousarray(self.images), "logits": np.ascontiguousarray(self.logits)},
            path,
            metadata={"tolerance": repr(self.tolerance)},
        )


def read_examples(path: Path, tolerance: float | None = None) -> Examples:
    """Reads examples from a ``.npz`` or ``.safetensors`` file with the arrays ``images`` and ``logits``.

    Raises:
        InvalidArgumentError: The file is none, or its arrays are not 1 to 32 images, uint8 ``(count, height,
            width, 3)``, and as many rows of finite logits (reason INVALID_EXAMPLES).
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _invalid(f"{path.name} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        if path.suffix == ".npz":
            found, kept = _npz(path), None
        else:
            found = load_file(path)
            with safe_open(path, framework="numpy") as file:
                kept = (file.metadata() or {}).get("tolerance")
        images, logits = found["images"], found["logits"].astype(np.float32)
        allowed = float(kept or TOLERANCE) if tolerance is None else tolerance
    except (OSError, ValueError, KeyError, EOFError, SafetensorError, zipfile.BadZipFile) as error:
        raise _invalid(
            f"{path.name} cannot be read as examples: {error}; a .npz or .safetensors file with the arrays "
            "'images' and 'logits' is needed"
        ) from error
    right = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and logits.ndim == 2
    if not right or not 1 <= len(images) == len(logits) <= MAX_EXAMPLES or not np.isfinite(logits).all():
        raise _invalid(
            f"{path.name} has images {images.dtype} {images.shape} and logits {logits.shape}; 1 to "
            f"{MAX_EXAMPLES} "
            "images, uint8 (count, height, width, 3), and as many rows of finite logits are needed"
        )
    return Examples(images.astype(np.uint8), logits, allowed)


def check_examples(classifier: Reader, path: Path) -> float:
    """Compares a classifier's logits with those of its examples.

    Returns:
        The largest difference.

    Raises:
        FailedPreconditionError: It is above the tolerance, or there are other classes (reason
            SELF_TEST_FAILED).
    """
    examples = read_examples(path)
    logits = classifier.read(examples.images).logits
    if logits.shape != examples.logits.shape:
        raise _failed(f"it gives {logits.shape[1]} logits; the examples have {examples.logits.shape[1]}")
    difference = float(np.abs(logits - examples.logits).max())
    if not difference <= examples.tolerance:
        same = int((logits.argmax(1) == examples.logits.argmax(1)).sum())
        raise _failed(
            f"logits differ by up to {difference:.4g}, {examples.tolerance:g} is allowed; {same} of "
            f"{len(logits)} "
            "examples are read as the same class: compare size, mean, std, resizing and the order of the "
            "channels "
            "with how the examples were made"
        )
    return difference


def _npz(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with zipfile.ZipFile(path) as file:
        # Compressed arrays could be of any size.
        size = sum(info.file_size for info in file.infolist())
    if size > 4 * MAX_BYTES:
        raise _invalid(f"{path.name} unpacks to {size} bytes; at most {4 * MAX_BYTES} are read")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("images", "logits")}


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_EXAMPLES", field="examples")


def _failed(message: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"the self-test failed: {message}", reason="SELF_TEST_FAILED")
