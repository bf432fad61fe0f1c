"""Finding units in the tables of a `quantify` job: pure functions of ``effects`` and ``units``.

Pairs and rows of a `counterfactual` job are found by `unitscope.selection.counterfactuals`.

::

    from unitscope.client import SavedResult
    from unitscope.selection import clusters, explain, resembling, select

    saved = SavedResult("results")                        # what `unitscope download` wrote
    effects, units = saved.table("effects"), saved.table("units")
    found = select(effects, units, part="glasses", measure="area", increase=True, top=10)
    print(explain(effects, units, part="glasses", measure="area", increase=True, top=10))
    alike = resembling(effects, units, 7)

Three rules hold unless the caller lifts them: a unit must be *trusted*, *confirmed* on the many images,
and its effect must have ``q`` below 0.05. The order is that of a score,
``|standardised effect| x selectivity``: large, and on little else.
"""

from unitscope.selection.alike import CLUSTERS, RESEMBLING, clusters, resembling
from unitscope.selection.choose import SELECTED, Options, Selection, choose, explain, select

__all__ = [
    "CLUSTERS",
    "RESEMBLING",
    "SELECTED",
    "Options",
    "Selection",
    "choose",
    "clusters",
    "explain",
    "resembling",
    "select",
]
