"""The part of a report that only ``counterfactual`` has: the matrix of classes, and film strips by pair."""

from workers.report.counterfactual.data import CounterfactualData, Inverted, Shown

__all__ = ["CounterfactualData", "Inverted", "Shown"]
