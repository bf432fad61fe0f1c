"""A feature network of two scales and a generator of 16 pixels: what takes milliseconds to train."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.generator.network import StyleGanXl
from services.generator.training.stages import HeadDesign, StemDesign, stem_network
from services.generator.training.trainer import TrainerSettings

CLASSES = 3
STEM = StemDesign(
    layers=3, channel_base=128, channel_max=16, channel_min=8, margin=2, z_dim=8, w_dim=12, embed_dim=6
)
HEAD = HeadDesign(layers=3, channel_base=128, channel_max=16, channel_min=4, margin=2)
SETTINGS = TrainerSettings(batch=6, projection_channels=8, blur_pictures=60)


class TinyFeatures(nn.Module):
    """Two random convolutions, frozen: maps of 8 x 8 and 4 x 4 of pictures resized to 16."""

    name = "tiny"
    channels = (4, 8)

    def __init__(self, seed: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("fine", torch.randn((4, 3, 3, 3), generator=generator) / 5)
        self.register_buffer("coarse", torch.randn((8, 4, 3, 3), generator=generator) / 6)

    def scales(self, images: Tensor) -> list[Tensor]:
        x = functional.interpolate(images, size=(16, 16), mode="bilinear", align_corners=False)
        fine = functional.leaky_relu(functional.conv2d(x, self.fine, stride=2, padding=1), 0.2)
        coarse = functional.leaky_relu(functional.conv2d(fine, self.coarse, stride=2, padding=1), 0.2)
        return [fine, coarse]

    def pooled(self, images: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)) for x in self.scales(images)], dim=1)


def tiny_stem(seed: int = 3, resolution: int = 16) -> StyleGanXl:
    return stem_network(classes=CLASSES, resolution=resolution, design=STEM, seed=seed)


def pictures(count: int, resolution: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Flat pictures, one colour a class, with noise: uint8 `(count, r, r, 3)`, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    colours = torch.tensor([[220, 30, 30], [30, 220, 30], [30, 30, 220]])[labels]
    noise = torch.randint(-20, 21, (count, resolution, resolution, 3), generator=generator)
    return (colours[:, None, None] + noise).clamp(0, 255).to(torch.uint8), labels
