"""What many images say about each unit: effects, their certainty, and which units do alike.

Pure NumPy functions. A column is one measure of one part, or one logit; effects are (units, images,
columns) float64, NaN where not measured.
"""

from workers.statistics.association import explained
from workers.statistics.atlas import map_2d
from workers.statistics.bootstrap import interval
from workers.statistics.discovery import benjamini_hochberg
from workers.statistics.effects import MIN_IMAGES, Summary, differences, scales, summarise
from workers.statistics.proportion import wilson
from workers.statistics.selectivity import certain, selectivity, shares_by_part
from workers.statistics.signflip import sign_flip
from workers.statistics.similarity import clusters, nearest, resembling
from workers.statistics.subsets import spaced

__all__ = [
    "MIN_IMAGES",
    "Summary",
    "benjamini_hochberg",
    "certain",
    "clusters",
    "differences",
    "explained",
    "interval",
    "map_2d",
    "nearest",
    "resembling",
    "scales",
    "selectivity",
    "shares_by_part",
    "sign_flip",
    "spaced",
    "summarise",
    "wilson",
]
