"""The StyleGAN-XL generator (arXiv 2202.00273) upon StyleGAN3 layers (arXiv 2106.12423).

Example::

    network = StyleGanXl(stem_spec(64, 7, 1024, 128, 2, 4.0, 7.9, w_dim=256, num_classes=6))
    w = network.mapping(torch.randn(8, 64), torch.zeros(8, dtype=torch.long), truncation=0.7)
    pictures = to_uint8(network.synthesis(w))     # uint8 (8, 64, 64, 3)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from services.generator.fast import in_float32
from services.generator.layers import Form, FourierInput, FullyConnected, SynthesisLayer
from services.generator.specs import NetworkSpec
from unitscope.errors import InvalidArgumentError

Observer = Callable[[str, Tensor], None]
"""Told of every layer by name, with the canvas `(batch, channels, size, size)` that it wrote; it must
not change the canvas, which the next layer reads."""


class Mapping(nn.Module):
    """z and class to w, with a mean of w for every class (StyleGAN-XL, section 3.1).

    Attributes:
        w_avg: Buffer `(num_classes, w_dim)`: the mean w of every class.
    """

    w_avg: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        """Draws the weights; class embeddings are normal until a checkpoint brings others."""
        super().__init__()
        self.spec = spec
        self.embed = nn.Embedding(spec.embed_classes, spec.embed_dim)
        self.embed_proj = FullyConnected(spec.embed_dim, spec.z_dim, activate=True)
        features = 2 * spec.z_dim
        for i in range(spec.mapping_layers):
            layer = FullyConnected(
                features, spec.w_dim, activate=True, lr_multiplier=spec.mapping_lr_multiplier
            )
            self.add_module(f"fc{i}", layer)
            features = spec.w_dim
        self.register_buffer("w_avg", torch.zeros(spec.num_classes, spec.w_dim))

    def forward(self, z: Tensor, classes: Tensor, truncation: float | Tensor = 1.0) -> Tensor:
        """Maps latents to w and pulls them towards the mean of their class.

        Args:
            z: Standard normal latents, `(batch, z_dim)`.
            classes: Class of every sample, int64 `(batch,)`, from 0 to `num_classes` - 1.
            truncation: 1 keeps w, 0 gives the mean of the class; or one value for every sample,
                `(batch,)`.

        Returns:
            w, float32 `(batch, w_dim)`.

        Raises:
            InvalidArgumentError: Wrong shapes (reason `BAD_SHAPE`) or a class that does not
                exist (`CLASS_OUT_OF_RANGE`).
        """
        self._check(z, classes)
        with torch.autocast(z.device.type, enabled=False):
            x = torch.cat([_normalise(z.float()), _normalise(self.embed_proj(self.embed(classes)))], dim=1)
            for i in range(self.spec.mapping_layers):
                x = self.get_submodule(f"fc{i}")(x)
            if isinstance(truncation, (int, float)) and truncation == 1:
                return x
            psi = torch.as_tensor(truncation, dtype=x.dtype, device=x.device).reshape(-1, 1)
            return torch.lerp(self.w_avg[classes], x, psi)

    def _check(self, z: Tensor, classes: Tensor) -> None:
        spec = self.spec
        if z.dim() != 2 or z.shape[1] != spec.z_dim:
            raise _bad("z", f"z has shape {tuple(z.shape)}; it must be (batch, {spec.z_dim})")
        if classes.shape != z.shape[:1]:
            raise _bad("classes", f"classes has shape {tuple(classes.shape)}; it must be ({len(z)},)")
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < spec.num_classes:
            raise InvalidArgumentError(
                f"classes run from {int(classes.min())} to {int(classes.max())}; "
                f"the network has classes 0 to {spec.num_classes - 1}",
                reason="CLASS_OUT_OF_RANGE",
                field="classes",
                classes=spec.num_classes,
            )


class Synthesis(nn.Module):
    """w to picture."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Builds the input and one layer for every entry of the spec."""
        super().__init__()
        self.spec = spec
        self._channels_last = False
        self.input = FourierInput(spec.input, spec.w_dim)
        for layer in spec.layers:
            self.add_module(layer.name, SynthesisLayer(layer, spec.w_dim))

    def layers(self) -> list[SynthesisLayer]:
        """The synthesis layers in order."""
        modules = (self.get_submodule(layer.name) for layer in self.spec.layers)
        return [module for module in modules if isinstance(module, SynthesisLayer)]

    def lay_out(self, channels_last: bool) -> None:
        """Decides whether the channels of a pixel lie side by side in memory, in the fast form."""
        self._channels_last = channels_last
        for layer in self.layers():
            layer.channels_last = channels_last

    def forward(self, w: Tensor, form: Form = "fast", observe: Observer | None = None) -> Tensor:
        """Renders pictures.

        Args:
            w: `(batch, w_dim)`, `(batch, 1, w_dim)`, or one w for the input and every layer (w+):
                `(batch, num_ws, w_dim)`.
            form: "fast", or "plain" for the definition.
            observe: Sees the hidden features of this very pass; the picture is the same without it.

        Returns:
            float32 `(batch, 3, resolution, resolution)`, nominally in [-1, 1], not clipped.

        Raises:
            InvalidArgumentError: w has another shape (reason `BAD_SHAPE`).
        """
        ws = self.broadcast(w)
        x = self.fourier(ws[:, 0])
        for i, layer in enumerate(self.layers(), start=1):
            x = layer(x, ws[:, i], form)
            if observe is not None:
                observe(layer.spec.name, x)
        return x.float() * self.spec.output_scale

    def broadcast(self, w: Tensor) -> Tensor:
        """Brings w to `(batch, num_ws, w_dim)`; see `forward`."""
        spec = self.spec
        ws = w[:, None] if w.dim() == 2 else w
        if ws.dim() != 3 or ws.shape[1] not in (1, spec.num_ws) or ws.shape[2] != spec.w_dim:
            raise _bad(
                "w",
                f"w has shape {tuple(w.shape)}; it must be (batch, {spec.w_dim}), "
                f"(batch, 1, {spec.w_dim}) or (batch, {spec.num_ws}, {spec.w_dim})",
            )
        return ws.expand(-1, spec.num_ws, -1)

    @torch.no_grad()
    def update_magnitudes(self, w: Tensor, beta: float = 0.999) -> None:
        """Moves every layer's running mean square of inputs towards that of these samples.

        Training may call it now and then; published networks do at every step, with a beta that
        halves the memory every 20,000 pictures. It changes the function that is computed.

        Args:
            w: As in `forward`.
            beta: Share of the old value that is kept, in [0, 1].
        """
        ws = self.broadcast(w)
        x = self.fourier(ws[:, 0])
        for i, layer in enumerate(self.layers(), start=1):
            layer.magnitude_ema.lerp_(x.float().square().mean(), 1 - beta)
            x = layer(x, ws[:, i])

    def fourier(self, w: Tensor) -> Tensor:
        """What the first layer reads, of w `(batch, w_dim)`: `(batch, channels, size, size)`.

        In float32 even under autocast: bfloat16 cannot hold phases.
        """
        with in_float32(w.device):
            features: Tensor = self.input(w.float())
        return features.contiguous(memory_format=torch.channels_last) if self._channels_last else features


class StyleGanXl(nn.Module):
    """The whole generator: `mapping` and `synthesis`.

    Keys of its state dict are those of published checkpoints.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        """Builds the network with random weights; `load_state_dict` brings trained ones."""
        super().__init__()
        self.spec = spec
        self.mapping = Mapping(spec)
        self.synthesis = Synthesis(spec)

    def forward(
        self, z: Tensor, classes: Tensor, truncation: float | Tensor = 1.0, form: Form = "fast"
    ) -> Tensor:
        """Renders from z; see `Mapping.forward` and `Synthesis.forward`."""
        pictures: Tensor = self.synthesis(self.mapping(z, classes, truncation), form)
        return pictures


def to_uint8(images: Tensor) -> Tensor:
    """Converts float images `(batch, 3, h, w)` in [-1, 1] to uint8 `(batch, h, w, 3)`.

    Values beyond the range are clipped.
    """
    pixels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def reduced(images: Tensor, factor: int) -> Tensor:
    """The mean of every square of `factor` pixels a side of what is seen.

    Args:
        images: float `(batch, 3, h, w)`, nominally in [-1, 1]; clipped first, as a display does.
        factor: A divisor of h and w; 1 leaves the images alone.

    Returns:
        float32 `(batch, 3, h / factor, w / factor)`.
    """
    return images if factor == 1 else F.avg_pool2d(images.float().clamp(-1, 1), factor)


def _normalise(x: Tensor) -> Tensor:
    """Scales every row to mean square 1."""
    return x * x.square().mean(dim=1, keepdim=True).add(1e-8).rsqrt()


def _bad(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="BAD_SHAPE", field=field)
