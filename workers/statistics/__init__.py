"""What many images say of what many units do: pure functions of arrays.

A *column* is one thing that is measured: a measure of a part, or the logit of a class. Effects are
``(units, images, columns)`` with NaN for what could not be measured.
"""

from workers.statistics.discovery import benjamini_hochberg
from workers.statistics.effects import MIN_IMAGES, Summary, differences, summarise
from workers.statistics.selectivity import selectivity, shares_by_part
from workers.statistics.signflip import sign_flip
from workers.statistics.similarity import clusters, map_2d

__all__ = [
    "MIN_IMAGES",
    "Summary",
    "benjamini_hochberg",
    "clusters",
    "differences",
    "map_2d",
    "selectivity",
    "shares_by_part",
    "sign_flip",
    "summarise",
]
