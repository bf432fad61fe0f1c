"""Settings of the generator's server alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Precision = Literal["auto", "float32", "bfloat16", "float16"]
ServerKind = Literal["auto", "triton", "v2"]
Device = Literal["auto", "cpu", "cuda"]


class GeneratorSettings(BaseSettings):
    """How the generator is served (``UNITSCOPE_GENERATOR_*``)."""

    model_config = SettingsConfigDict(env_prefix="UNITSCOPE_GENERATOR_", frozen=True)

    server: ServerKind = "auto"
    """``triton``, ``v2`` (our own server of the same protocol), or ``auto``: Triton where it can run."""
    device: Device = "auto"
    """Of the models on Triton: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one. With ``cuda`` Triton
    does not start without a GPU, where ``auto`` would render on the CPU, slowly."""
    instances: int = Field(default=1, ge=1, le=64)
    """Copies of each synthesis network on Triton, which render different requests at once."""
    gradients: bool = False
    """Whether the gradient of each generator is served as well. On Triton it is one more process."""
    hidden: bool = False
    """Whether projections of hidden features are served as well. On Triton it is one more process."""
    precision: Precision = "auto"
    """Of synthesis: ``float32``, ``float16``, ``bfloat16``, or ``auto``: float16 on a GPU."""
    http_port: int = Field(default=7413, ge=0, le=65535)
    """Triton's HTTP port; 0 serves no HTTP."""
    metrics_port: int = Field(default=7423, ge=0, le=65535)
    """Triton's port for Prometheus; 0 serves no metrics."""
    probe_seconds: float = Field(default=2.0, gt=0)
    """Pause between two small inferences that show whether Triton still renders."""
    probe_patience_seconds: float = Field(default=120.0, gt=0)
    """Deadline of such an inference: it may stand behind others in the queue."""
    start_seconds: float = Field(default=300.0, gt=0)
    """How long Triton may take until it is ready."""
