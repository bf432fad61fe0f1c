"""Clients of the services: arrays in, arrays out, a deadline on every call, our errors alone."""

from workers.clients.classifier import ClassifierClient
from workers.clients.generator import GeneratorClient, Renderer
from workers.clients.linker import LinkerClient, Quality, Reference, Solved, StoredObject
from workers.clients.pipeline import Reading, render_and_read

__all__ = [
    "ClassifierClient",
    "GeneratorClient",
    "LinkerClient",
    "Quality",
    "Reading",
    "Reference",
    "Renderer",
    "Solved",
    "StoredObject",
    "render_and_read",
]
