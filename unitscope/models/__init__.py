"""Model cards and the registry: what a model is, where its weights lie, and that they are its own."""

from unitscope.models.cards import InputSpec, LayerCard, ModelCard, identity_digest
from unitscope.models.registry import ModelReference, Registry

__all__ = [
    "InputSpec",
    "LayerCard",
    "ModelCard",
    "ModelReference",
    "Registry",
    "identity_digest",
]
