"""How well a classifier of the registry reads real photos: ``python -m packs.photos MODEL PHOTOS.zip``.

The photos are a zip of pictures, one or more a class, whose names start with the class's WordNet id, e.g.
``n01440764_tench.jpg``: in the order of these ids stand ImageNet's 1000 classes. They are read, never kept.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from services.classifier.loading import load_classifier
from unitscope.embedded import models_root
from unitscope.models import Registry

EDGE = 256
"""Photos are scaled to this shorter edge and cut square, so that they can be read in batches."""
BATCH = 64


def photos(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The photos of a zip: index of the class, and uint8 ``(256, 256, 3)``."""
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png")))
        ids = sorted({Path(name).name.partition("_")[0] for name in names})
        for name in names:
            picture = Image.open(io.BytesIO(file.read(name))).convert("RGB")
            yield ids.index(Path(name).name.partition("_")[0]), square(picture)


def square(picture: Image.Image) -> NDArray[np.uint8]:
    """The centre of a picture whose shorter edge was scaled to 256 pixels, uint8 ``(256, 256, 3)``."""
    scale = EDGE / min(picture.size)
    width, height = (max(EDGE, round(edge * scale)) for edge in picture.size)
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - EDGE) // 2, (height - EDGE) // 2
    return np.asarray(scaled.crop((left, top, left + EDGE, top + EDGE)), np.uint8)


def main(
    model: Annotated[str, typer.Argument(help="A classifier, e.g. imagenet/efficientnet-lite0.")],
    archive: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A zip of photos.")],
    models: Annotated[Path | None, typer.Option(help="The registry's folder.")] = None,
) -> None:
    """Print top-1 and top-5 accuracy on a zip of photos."""
    registry = Registry(models_root(models))
    card = registry.resolve(model, "classifier")
    classifier = load_classifier(card, registry)
    found = list(photos(archive))
    classes = np.array([index for index, _ in found])
    start = time.perf_counter()
    ranks = []
    for first in range(0, len(found), BATCH):
        logits = classifier.read(np.stack([image for _, image in found[first : first + BATCH]])).logits
        own = np.take_along_axis(logits, classes[first : first + BATCH, None], 1)
        ranks.append((logits > own).sum(1))
    rank = np.concatenate(ranks)
    rate = len(found) / (time.perf_counter() - start)
    print(
        f"{card.name}@sha256:{card.short_digest}, {len(found)} photos of {len(set(classes.tolist()))} classes"
    )
    print(f"top-1 {(rank == 0).mean():.1%}, top-5 {(rank < 5).mean():.1%}; {rate:.0f} photos/s")


if __name__ == "__main__":
    typer.run(main)
