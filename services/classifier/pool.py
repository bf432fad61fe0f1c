"""Keeps the classifiers that are in use; others are loaded when asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from services.classifier.classifier import Classifier, load_classifier
from unitscope.models.registry import Registry

CAPACITY = 8
"""Classifiers that are kept in memory; the one that was not used for longest goes first."""


class Pool:
    """Classifiers by reference, loaded once each."""

    def __init__(self, registry: Registry, device: str = "cpu", capacity: int = CAPACITY) -> None:
        """Takes a registry; loads nothing yet."""
        self.registry = registry
        self.device = device
        self._capacity = capacity
        self._loaded: OrderedDict[str, Classifier] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, reference: str) -> Classifier:
        """The classifier that a reference names, e.g. ``avatars/clean``.

        Raises:
            UnitScopeError: As `Registry.resolve` and `load_classifier` say.
        """
        card = self.registry.resolve(reference, "classifier")
        # The name takes part: cards that differ in nothing else share a digest, but not a name.
        key = f"{card.name}@{card.digest}"
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = load_classifier(card, self.registry, self.device)
                while len(self._loaded) > self._capacity:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]
