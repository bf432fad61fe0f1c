"""Classifier guidance: generated pictures are also to be recognised as what they were asked to be.

From 64 pixels on the generator's loss gains the cross entropy of a frozen classifier on generated
pictures (StyleGAN-XL, arXiv 2202.00273, section 3.4). There it is a network for ImageNet; for a
laboratory's own classes it is a linear head here, fitted on the pooled features of the real pictures,
whose accuracy on pictures that were held out says how far to trust it::

    guide = fit_guide(pooled, labels, classes=10, seed=1)
    guide.held_out_accuracy           # on a fifth of the pictures
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitscope.errors import InvalidArgumentError

_STEPS = 100
"""Iterations of L-BFGS at most."""


class Guide(nn.Module):
    """A linear classifier on pooled features, frozen.

    Attributes:
        weight: Buffer `(classes, d)`.
        bias: Buffer `(classes,)`.
        held_out_accuracy: Share of held-out pictures whose class it names; no picture of these was
            used to fit it.
        held_out_count: How many those were.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, *, held_out_accuracy: float, held_out_count: int
    ) -> None:
        """Keeps what was fitted."""
        super().__init__()
        self.register_buffer("weight", weight.detach().float())
        self.register_buffer("bias", bias.detach().float())
        self.held_out_accuracy = held_out_accuracy
        self.held_out_count = held_out_count

    def logits(self, pooled: Tensor) -> Tensor:
        """Maps features `(batch, d)` to logits, float32 `(batch, classes)`."""
        return functional.linear(pooled.float(), self.weight, self.bias)


def fit_guide(
    features: Tensor, labels: Tensor, classes: int, *, seed: int = 0, held_out: float = 0.2
) -> Guide:
    """Fits the classifier by logistic regression on standardised features.

    Args:
        features: float `(n, d)`, as `FeatureNetwork.pooled` gives them for real pictures.
        labels: int64 `(n,)`, from 0 to `classes` - 1.
        classes: Number of classes, at least 2.
        seed: Of the split.
        held_out: Share of every class's pictures that is held out: one at least, never all.

    Returns:
        The classifier as it was fitted without the held-out pictures, with its accuracy on these.

    Raises:
        InvalidArgumentError: One class alone (reason NOTHING_TO_GUIDE), a class of fewer than two
            pictures (TOO_FEW_IMAGES), or features that are no finite numbers or of another shape
            (BAD_FEATURES).
    """
    _check(features, labels, classes)
    features = features.float()
    fitted, judged = _split(labels.cpu(), classes, seed, held_out)
    mean, deviation = features[fitted].mean(0), features[fitted].std(0).clamp_min(1e-6)
    x, y = (features[fitted] - mean).div(deviation), labels[fitted]
    weight, bias = logistic_regression(x, y, classes)
    # Standardisation is folded in, so that features come as they are.
    weight = weight / deviation
    bias = bias - weight @ mean
    found = functional.linear(features[judged], weight, bias).argmax(dim=1)
    accuracy = float((found == labels[judged]).double().mean())
    return Guide(weight, bias, held_out_accuracy=accuracy, held_out_count=len(judged))


def logistic_regression(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The minimum of the sum of cross entropies and half the squared weights, which is convex.

    Args:
        x: Standardised features, float32 `(n, d)`.
        y: Classes, int64 `(n,)`.
        classes: Number of classes.

    Returns:
        Weights `(classes, d)` and biases `(classes,)`, which are not penalised.
    """
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        with torch.enable_grad():
            loss = functional.cross_entropy(functional.linear(x, weight, bias), y)
            loss = loss + weight.square().sum() / (2 * len(x))
            loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _split(labels: Tensor, classes: int, seed: int, held_out: float) -> tuple[Tensor, Tensor]:
    """Rows to fit on and rows to judge by, in these shares of every class."""
    generator = torch.Generator().manual_seed(seed)
    fitted, judged = [], []
    for label in range(classes):
        rows = (labels == label).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        count = min(max(1, round(held_out * len(rows))), len(rows) - 1)
        judged.append(rows[:count])
        fitted.append(rows[count:])
    return torch.cat(fitted), torch.cat(judged)


def _check(features: Tensor, labels: Tensor, classes: int) -> None:
    if classes < 2:
        raise InvalidArgumentError(
            f"there is {classes} class; guidance tells classes apart and needs 2 at least",
            reason="NOTHING_TO_GUIDE",
            field="classes",
        )
    if features.dim() != 2 or len(features) != len(labels) or not bool(torch.isfinite(features).all()):
        raise InvalidArgumentError(
            f"features have shape {tuple(features.shape)} for {len(labels)} labels; they must be finite "
            f"numbers ({len(labels)}, d)",
            reason="BAD_FEATURES",
            field="features",
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InvalidArgumentError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; there are classes 0 to "
            f"{classes - 1}",
            reason="CLASS_OUT_OF_RANGE",
            field="labels",
        )
    counts = torch.bincount(labels.cpu(), minlength=classes)
    if int(counts.min()) < 2:
        few = int(counts.argmin())
        raise InvalidArgumentError(
            f"class {few} has {int(counts[few])} pictures; guidance needs 2 at least of every class: one to "
            "fit on and one to judge by",
            reason="TOO_FEW_IMAGES",
            field="labels",
            label=few,
        )
