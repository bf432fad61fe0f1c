"""Where the generator comes nearest to a user's own image: first the linker's w, then by gradients in w.

The linker needs one look at an image, ``w0 = A r + b``, and gives back what the features say of it. From
there the picture is made more like the image (`likeness`, `quasi_newton`): one render and one read a step,
and one gradient of generator and classifier where the step paid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from workers.counterfactual.likeness import Likeness, Photos, look_at, read
from workers.counterfactual.models import NO_GRADIENT, Doubles, Floats, Images, Models, Rows
from workers.counterfactual.quasi_newton import Effort, Minimum, minimise


@dataclass(frozen=True)
class InversionSettings:
    """How images are inverted.

    Attributes:
        effort: Of the refinement; no steps for the linker's w alone.
        feature_weight: f of the loss in `likeness`: of features, where pixels have 1.
        plausibility_weight: p of that loss: of being less plausible than the fit's own w.
    """

    effort: Effort = field(default_factory=Effort)
    feature_weight: float = 0.3
    plausibility_weight: float = 0.1


@dataclass(frozen=True)
class Inversion:
    """What became of images; every array has one entry an image.

    Attributes:
        latents: float32 (images, w_dim), the best w.
        linked_latents: float32 (images, w_dim), the linker's.
        images: uint8 (images, height, width, 3) rendered from the best w.
        linked_images: uint8, likewise from the linker's.
        error: (images,) root mean squared difference of pixels from the image, in grey levels 0..255.
        linked_error: (images,) likewise of the linker's picture.
        feature_error: (images,) L2 distance of features from the image's, relative to the image's length.
        linked_feature_error: (images,) likewise of the linker's picture.
        features: float32 (images, units) read in the rendered images, from which a search may start.
        photo_logits: float32 (images, classes) read in the user's images.
        logits: float32 (images, classes) read in the rendered images.
        plausibility: (images,) Mahalanobis distance of the best w per root dimension.
        linked_plausibility: (images,) likewise of the linker's.
        steps: (images,) pictures that were tried beside the linker's.
        generator_calls: (images,) calls of the generator that each image took part in.
        refined: (images,) whether the best w is another than the linker's.
    """

    latents: Floats
    linked_latents: Floats
    images: Images
    linked_images: Images
    error: Doubles
    linked_error: Doubles
    feature_error: Doubles
    linked_feature_error: Doubles
    features: Floats
    photo_logits: Floats
    logits: Floats
    plausibility: Doubles
    linked_plausibility: Doubles
    steps: Rows
    generator_calls: Rows
    refined: NDArray[np.bool_]


def invert(
    models: Models,
    images: Images,
    settings: InversionSettings | None = None,
    *,
    std: NDArray[np.floating] | None = None,
    furthest: float = np.inf,
) -> Inversion:
    """Looks for the w of images, all side by side.

    Args:
        models: Classifier, generator and linker.
        images: uint8 (images, height, width, 3), of the generator's size.
        settings: None for the usual ones.
        std: (units,) standard deviations of the fit's features, by which differences are divided, so that no
            unit outweighs the others; None takes features as they are.
        furthest: The distance, per root dimension, that the fit's own w keep within; w within it are not
            pulled to its mean.

    Returns:
        For each image the w with the smallest loss: the linker's where none is better, and everywhere where
        generator or classifier serve no gradients.

    Raises:
        InvalidArgumentError: Images or `std` do not fit the models (reason BAD_SHAPE).
        UnitScopeError: What a service raised.
    """
    settings = settings or InversionSettings()
    _check(models, images, std)
    features, photo_logits = read(models, images)
    linked = models.linker.latents(models.allowed(features))
    start = look_at(models, linked)
    if start.images.shape != images.shape:
        raise InvalidArgumentError(
            f"images of shape {images.shape[1:]} were given to a generator of {start.images.shape[1:]}: "
            "bring them to its size first",
            reason="BAD_SHAPE",
            field="images",
        )
    photos = Photos(images.astype(np.float64), features.astype(np.float64))
    weights = settings.feature_weight, settings.plausibility_weight
    objective = Likeness.of(models, photos, start, weights, furthest, std)
    minimum = _minimum(objective, linked, settings.effort)
    end, calls, tried = start, np.ones(len(images), np.int64), np.zeros(len(images), np.int64)
    refined = np.zeros(len(images), np.bool_)
    if minimum is not None:
        refined = minimum.values < minimum.first
        latents = np.where(refined[:, None], objective.latents(minimum.points), linked)
        end = look_at(models, latents)
        # The linker's picture is rendered twice and the best one again; every gradient is a call as well.
        calls, tried = minimum.tried + minimum.gradients + 3, minimum.tried
    return Inversion(
        latents=end.w.astype(np.float32),
        linked_latents=start.w.astype(np.float32),
        images=end.images,
        linked_images=start.images,
        error=photos.error(end.images),
        linked_error=photos.error(start.images),
        feature_error=photos.feature_error(end.features),
        linked_feature_error=photos.feature_error(start.features),
        features=end.features,
        photo_logits=photo_logits,
        logits=end.logits,
        plausibility=models.linker.unlikeliness(end.w),
        linked_plausibility=models.linker.unlikeliness(start.w),
        steps=tried,
        generator_calls=calls,
        refined=refined,
    )


def _check(models: Models, images: Images, std: NDArray[np.floating] | None) -> None:
    """Refuses what is no batch of images, and deviations of other units."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise InvalidArgumentError(
            f"images are {images.dtype} {images.shape}: they must be uint8 (images, height, width, 3), at "
            "least one",
            reason="BAD_SHAPE",
            field="images",
        )
    units = models.linker.weight.shape[1]
    if std is not None and std.shape != (units,):
        raise InvalidArgumentError(
            f"std {std.shape} does not fit: it must be ({units},)", reason="BAD_SHAPE", field="std"
        )


def _minimum(objective: Likeness, linked: Doubles, effort: Effort) -> Minimum | None:
    """The best w in whitened coordinates; None where nothing is searched."""
    if effort.steps < 1:
        return None
    try:
        return minimise(objective, objective.whitened(linked), effort)
    except (FailedPreconditionError, NotFoundError) as error:
        if error.reason not in NO_GRADIENT:
            raise
        return None
