"""One small discriminator a scale of the projected features, told which class is claimed.

Every head brings its map down to the size of the coarsest one by strided convolutions under spectral
norm and judges it place by place, so that all heads weigh the same (Projected GANs, arXiv 2111.01007,
section 3.2). The class enters by projection (Miyato and Koyama, arXiv 1802.05637): to the logit of a
place comes the inner product of its features with a vector of the class, which starts from the
generator's class embedding (StyleGAN-XL, arXiv 2202.00273, section 3.1).

Groups of channels are normalised within one picture and not over the batch: a logit does not depend on
what else is judged, and a batch may be taken in parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from services.generator.fast import in_float32

CLASS_DIM = 64
"""Width of the space in which a place's features and the class are compared."""

_GROUPS = 8
_SLOPE = 0.2
_LAST_KERNEL = 4


class ScaleDiscriminator(nn.Module):
    """Judges the maps of one scale."""

    def __init__(self, channels: int, size: int, smallest: int, widest: int, embed_dim: int) -> None:
        """Draws the weights from torch's global generator.

        Args:
            channels: Channels of the map.
            size: Edge of the map.
            smallest: Edge that the map is brought down to.
            widest: Most channels; each halving doubles them.
            embed_dim: Dimensions of a class embedding.
        """
        super().__init__()
        blocks: list[nn.Module] = []
        while size // 2 >= smallest:
            written = min(2 * channels, widest)
            blocks += _block(channels, written, kernel=4, stride=2)
            channels, size = written, size // 2
        if not blocks:
            blocks += _block(channels, min(channels, widest), kernel=3, stride=1)
            channels = min(channels, widest)
        self.blocks = nn.Sequential(*blocks)
        kernel = min(_LAST_KERNEL, size)
        # Of places that agree, a kernel of norm 1 sees its edge times what one place says. Undivided, a
        # step of Adam moves a logit far beyond the margin of the hinge.
        self._gain = 1 / kernel
        self.score = spectral_norm(nn.Conv2d(channels, 1, kernel))
        self.compare = spectral_norm(nn.Conv2d(channels, CLASS_DIM, kernel))
        self.embed_proj = spectral_norm(nn.Linear(embed_dim, CLASS_DIM))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Logits `(batch, places)` of maps `(batch, channels, size, size)` and class embeddings."""
        x = self.blocks(x)
        wanted = self.embed_proj(embedded)
        wanted = wanted * wanted.square().mean(dim=1, keepdim=True).add(1e-8).rsqrt()
        match = (self.compare(x) * wanted[:, :, None, None]).sum(dim=1) / math.sqrt(CLASS_DIM)
        logits: Tensor = (self.score(x)[:, 0] + match).flatten(1) * self._gain
        return logits


class Discriminator(nn.Module):
    """All scales of a projector."""

    def __init__(self, channels: Sequence[int], sizes: Sequence[int], embeddings: Tensor) -> None:
        """Draws the weights from torch's global generator.

        Args:
            channels: Channels of every map, as `Projector.channels`.
            sizes: Edges of every map, as `Projector.sizes`.
            embeddings: Where the classes' embeddings start, `(classes, embed_dim)`.
        """
        super().__init__()
        self.embed = nn.Embedding(
            len(embeddings), embeddings.shape[1], _weight=embeddings.detach().clone().float()
        )
        self.scales = nn.ModuleList(
            ScaleDiscriminator(wide, size, min(sizes), max(channels), embeddings.shape[1])
            for wide, size in zip(channels, sizes, strict=True)
        )

    def forward(self, maps: Sequence[Tensor], labels: Tensor) -> list[Tensor]:
        """Judges pictures.

        Args:
            maps: What a `Projector` gives, of any float type; judged in float32.
            labels: The class that every picture is claimed to show, int64 `(batch,)`.

        Returns:
            Logits of every scale, float32 `(batch, places)`: above 0 is real.
        """
        with in_float32(labels.device):
            embedded = self.embed(labels)
            return [
                scale(x.float().contiguous(), embedded) for scale, x in zip(self.scales, maps, strict=True)
            ]


def _block(read: int, written: int, *, kernel: int, stride: int) -> list[nn.Module]:
    convolution = spectral_norm(nn.Conv2d(read, written, kernel, stride, padding=1))
    return [convolution, nn.GroupNorm(math.gcd(_GROUPS, written), written), nn.LeakyReLU(_SLOPE)]
