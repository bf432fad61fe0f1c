"""Keeps the classifiers that are in use; others are loaded when asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from services.classifier.classifier import Classifier
from services.classifier.loading import load_classifier
from unitscope.models.cards import ModelCard
from unitscope.models.registry import Registry

CAPACITY = 8
"""Classifiers that are kept in memory; the one that was not used for longest goes first."""
MAX_BYTES = 4 << 30
"""Weights that are kept in memory, by the size of their files; a single larger model is still loaded."""


@dataclass
class _Place:
    """One classifier's place: its own lock, so that loading one does not hold up the others."""

    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    classifier: Classifier | None = None


class Pool:
    """Classifiers by reference, loaded once each, side by side."""

    def __init__(
        self, registry: Registry, device: str = "cpu", capacity: int = CAPACITY, max_bytes: int = MAX_BYTES
    ) -> None:
        """Takes a registry; loads nothing yet."""
        self.registry = registry
        self.device = device
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, reference: str) -> Classifier:
        """The classifier that a reference names, e.g. ``avatars/clean``.

        Raises:
            UnitScopeError: As `Registry.resolve` and `load_classifier` say.
        """
        card = self.registry.resolve(reference, "classifier")
        place = self._place(card)
        with place.lock:
            if place.classifier is None:
                place.classifier = load_classifier(card, self.registry, self.device)
            return place.classifier

    @property
    def held_bytes(self) -> int:
        """The size of the files of all classifiers that are kept."""
        with self._lock:
            return sum(place.size for place in self._places.values())

    def _place(self, card: ModelCard) -> _Place:
        """The card's place, now the one used last; those that no longer fit are given up."""
        # The name takes part: cards that differ in nothing else share a digest, but not a name.
        key = f"{card.name}@{card.digest}"
        with self._lock:
            if key not in self._places:
                self._places[key] = _Place(sum(entry.size for entry in card.files.values()))
            self._places.move_to_end(key)
            while len(self._places) > 1 and (
                len(self._places) > self._capacity
                or sum(place.size for place in self._places.values()) > self._max_bytes
            ):
                self._places.popitem(last=False)
            return self._places[key]
