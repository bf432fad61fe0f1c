"""The golden numbers: weights, specs and results of the published network, tiny; and a spec of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from services.generator.design import stem_spec
from services.generator.network import StyleGanXl
from services.generator.specs import InputSpec, LayerSpec, NetworkSpec

GOLDEN = Path(__file__).parents[2] / "golden"
RESOLUTIONS = (16, 32, 64)
_SAME = (
    "name", "in_channels", "out_channels", "in_sampling_rate", "out_sampling_rate",
    "tmp_sampling_rate", "in_cutoff", "out_cutoff", "in_half_width", "out_half_width",
    "conv_kernel", "conv_clamp", "up_factor", "up_taps", "down_factor", "down_taps", "is_torgb",
    "is_critically_sampled",
)  # fmt: skip


def published_spec(resolution: int) -> dict[str, Any]:
    """The spec as the published network states it."""
    text = (GOLDEN / f"stylegan-xl-tiny-{resolution}.spec.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values


def golden_spec(resolution: int) -> NetworkSpec:
    """The published spec in our words; sizes there are pairs, the canvases square."""
    values = published_spec(resolution)
    first = values["input"]
    return NetworkSpec(
        resolution=resolution,
        z_dim=values["z_dim"],
        w_dim=values["w_dim"],
        num_classes=values["c_dim"],
        embed_classes=1000,
        embed_dim=320,
        mapping_layers=2,
        mapping_lr_multiplier=0.01,
        output_scale=values["output_scale"],
        input=InputSpec(
            channels=first["channels"],
            size=first["size"][0],
            sampling_rate=first["sampling_rate"],
            bandwidth=first["bandwidth"],
        ),
        layers=tuple(
            LayerSpec(
                in_size=layer["in_size"][0],
                out_size=layer["out_size"][0],
                padding=tuple(layer["padding"]),
                **{name: layer[name] for name in _SAME},
            )
            for layer in values["layers"]
        ),
    )


def golden_weights(resolution: int) -> dict[str, Tensor]:
    """State dict of the published network."""
    return load_file(GOLDEN / f"stylegan-xl-tiny-{resolution}.weights.safetensors")


def golden_io(resolution: int) -> dict[str, Tensor]:
    """z, classes, ws and images of the published network."""
    return load_file(GOLDEN / f"stylegan-xl-tiny-{resolution}.io.safetensors")


def golden_network(resolution: int) -> StyleGanXl:
    """Our network with the published spec and weights."""
    network = StyleGanXl(golden_spec(resolution)).eval()
    network.load_state_dict(golden_weights(resolution))
    return network


def avatars_spec(**changes: Any) -> NetworkSpec:
    """The configuration of the avatars pack."""
    return stem_spec(64, 7, 1024, 128, 2, 4.0, 7.9, w_dim=256, num_classes=6, **changes)
