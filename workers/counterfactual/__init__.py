"""Counterfactuals: the smallest change of an image's features that makes the classifier say something else.

Two searches over many rows at once, each a pure function of arrays and of three models behind small
protocols (`models`)::

    models = Models(context.classifier, context.generator, Linker.of(linked.solution), beat=context.beat)
    rows = path(models, features, origins, targets, linked.solution.std, latents=w, frames=9)
    [row.outcome for row in rows]   # one a row, in their order: reached, unreachable, same_class, ...

``descent`` is the published one (`descent`); ``path`` finds the smallest shift to the boundary of the head,
then the crossing of the image, in half a dozen calls of the generator (`boundary`, `crossing`, `refine`).
Pictures start from the images' own latents, or from where the linker takes their features (without
`latents`, as published); ``invert`` finds the latents of a user's own images (`inversion`). Nothing here
knows jobs, stages or tables.
"""

from workers.counterfactual.boundary import Size
from workers.counterfactual.crossing import CrossingSettings
from workers.counterfactual.descent import DescentSettings, descent
from workers.counterfactual.heads import probed
from workers.counterfactual.inversion import Inversion, InversionSettings, invert
from workers.counterfactual.models import Linker, Models
from workers.counterfactual.path import PathSettings, path
from workers.counterfactual.quasi_newton import Effort
from workers.counterfactual.result import Carrier, Counterfactual, Outcome, Strip

__all__ = [
    "Carrier",
    "Counterfactual",
    "CrossingSettings",
    "DescentSettings",
    "Effort",
    "Inversion",
    "InversionSettings",
    "Linker",
    "Models",
    "Outcome",
    "PathSettings",
    "Size",
    "Strip",
    "descent",
    "invert",
    "path",
    "probed",
]
