"""The parts of the network: fully connected layer, Fourier input, synthesis layer.

Parameters and buffers carry the names of published checkpoints, so that a converted one loads with
`load_state_dict`. Sources: StyleGAN3 (arXiv 2106.12423, section 3 and appendices B, F),
StyleGAN-XL (arXiv 2202.00273, section 3).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from services.generator import fast, plain
from services.generator.filters import design_lowpass
from services.generator.specs import InputSpec, LayerSpec

Form = Literal["fast", "plain"]
"""How synthesis computes: both forms give the same picture but for rounding."""

_Key = tuple[int, int, torch.device, torch.dtype, bool]
"""What a prepared kernel depends on: where its weights lie, which version, for what."""


class FullyConnected(nn.Module):
    """Linear layer whose parameters are stored at unit scale (equalised learning rate).

    Args:
        in_features: Features read.
        out_features: Features written.
        activate: Whether a leaky ReLU with gain sqrt(2) follows.
        lr_multiplier: Parameters are stored divided by it.
        weight_init: Standard deviation of the effective weights, times sqrt(in_features).
        bias_init: Effective bias at the start.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activate: bool = False,
        lr_multiplier: float = 1.0,
        weight_init: float = 1.0,
        bias_init: float | list[float] = 0.0,
    ) -> None:
        """Draws the weights from torch's global generator."""
        super().__init__()
        self.activate = activate
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        spread = weight_init / lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * spread)
        start = torch.as_tensor(bias_init, dtype=torch.float32).expand(out_features)
        self.bias = nn.Parameter(start / lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(batch, in_features)` to `(batch, out_features)`."""
        y = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return F.leaky_relu(y, plain.LRELU_SLOPE) * plain.LRELU_GAIN if self.activate else y


class FourierInput(nn.Module):
    """Fourier features on a grid, translated and rotated by w (StyleGAN3, appendix F).

    Attributes:
        transform: Buffer `(3, 3)`: a further transform of the plane, for whoever renders.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor
    grid: Tensor

    def __init__(self, spec: InputSpec, w_dim: int) -> None:
        """Draws frequencies uniformly from the disc of the bandwidth."""
        super().__init__()
        self.spec = spec
        radius = spec.bandwidth * torch.rand(spec.channels).sqrt()
        angle = 2 * math.pi * torch.rand(spec.channels)
        freqs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
        self.weight = nn.Parameter(torch.randn(spec.channels, spec.channels))
        # At the start no w moves the plane: no rotation, no translation.
        self.affine = FullyConnected(w_dim, 4, weight_init=0, bias_init=[1.0, 0.0, 0.0, 0.0])
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(spec.channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        centres = (torch.arange(spec.size) + 0.5 - spec.size / 2) / spec.sampling_rate
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], dim=2), persistent=False)

    def forward(self, w: Tensor) -> Tensor:
        """Renders the features of w `(batch, w_dim)`: `(batch, channels, size, size)`."""
        spec = self.spec
        plane = self._plane(self.affine(w))
        freqs = self.freqs @ plane[:, :2, :2]
        phases = self.phases + (self.freqs @ plane[:, :2, 2:]).squeeze(2)
        # Frequencies that the transform moved beyond the bandwidth fade out before they alias.
        band = spec.sampling_rate / 2 - spec.bandwidth
        damping = (1 - (freqs.norm(dim=2) - spec.bandwidth) / band).clamp(0, 1)
        angles = self.grid.flatten(0, 1) @ freqs.transpose(1, 2) + phases[:, None, :]
        waves = torch.sin(angles * (2 * math.pi)) * damping[:, None, :]
        mixed = waves @ (self.weight / math.sqrt(spec.channels)).t()
        features: Tensor = mixed.transpose(1, 2).reshape(-1, spec.channels, spec.size, spec.size)
        return features

    def _plane(self, t: Tensor) -> Tensor:
        """The transform of the plane for (cosine, sine, x, y) in `t`: `(batch, 3, 3)`.

        Rotation and translation are those of the picture, so that the grid takes their inverses.
        """
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, x, y = t.unbind(dim=1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=1)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
        inverse = rotation.view(-1, 3, 3) @ translation.view(-1, 3, 3)
        return inverse @ self.transform


class SynthesisLayer(nn.Module):
    """Modulated convolution and filtered leaky ReLU, in the plain or the fast form.

    Attributes:
        magnitude_ema: Buffer: running mean square of the layer's input.
        channels_last: Whether the fast form keeps the channels of a pixel side by side in memory.
    """

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None
    up_y: Tensor
    up_x: Tensor
    down_y: Tensor
    down_x: Tensor

    def __init__(self, spec: LayerSpec, w_dim: int) -> None:
        """Draws the weights and designs the filters."""
        super().__init__()
        self.spec = spec
        self.channels_last = False
        self._prepared: tuple[_Key, Tensor, fast.Kernel] | None = None
        self.affine = FullyConnected(w_dim, spec.in_channels, bias_init=1.0)
        kernel = (spec.out_channels, spec.in_channels, spec.conv_kernel, spec.conv_kernel)
        self.weight = nn.Parameter(torch.randn(kernel))
        self.bias = nn.Parameter(torch.zeros(spec.out_channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        rate = spec.tmp_sampling_rate
        up = design_lowpass(spec.up_taps, spec.in_cutoff, spec.in_half_width, rate)
        down = design_lowpass(spec.down_taps, spec.out_cutoff, spec.out_half_width, rate)
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)
        for name, matrix in self._matrices().items():
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, x: Tensor, w: Tensor, form: Form = "fast") -> Tensor:
        """Maps `(batch, in, size, size)` and w `(batch, w_dim)` to the next canvas."""
        spec = self.spec
        # Styles are few and everything is scaled by them: float32 even under autocast.
        with fast.in_float32(x.device):
            styles = self.affine(w.float())
            input_gain = self.magnitude_ema.rsqrt()
            if spec.is_torgb:
                styles = styles / math.sqrt(spec.in_channels * spec.conv_kernel**2)
                # Colours are not rounded more coarsely than the picture.
                return self._compute(x.to(self.weight.dtype), styles, input_gain, form)
        return self._compute(x, styles, input_gain, form)

    def _compute(self, x: Tensor, styles: Tensor, input_gain: Tensor, form: Form) -> Tensor:
        return self._plain(x, styles, input_gain) if form == "plain" else self._fast(x, styles, input_gain)

    def _plain(self, x: Tensor, styles: Tensor, input_gain: Tensor) -> Tensor:
        spec = self.spec
        x = plain.modulated_conv2d(
            x,
            self.weight,
            styles,
            padding=spec.conv_kernel - 1,
            demodulate=not spec.is_torgb,
            input_gain=input_gain,
        )
        return plain.filtered_lrelu(
            x,
            self.bias,
            self.up_filter,
            self.down_filter,
            up=spec.up_factor,
            down=spec.down_factor,
            padding=spec.padding,
            gain=1.0 if spec.is_torgb else plain.LRELU_GAIN,
            slope=1.0 if spec.is_torgb else plain.LRELU_SLOPE,
            clamp=spec.conv_clamp,
        )

    def _fast(self, x: Tensor, styles: Tensor, input_gain: Tensor) -> Tensor:
        spec = self.spec
        x = fast.modulated_conv2d(
            x,
            self.weight if spec.is_torgb else self._kernel(fast.computed_in(x)),
            styles,
            padding=spec.conv_kernel - 1,
            demodulate=not spec.is_torgb,
            input_gain=input_gain,
            bias=self.bias,
        )
        if spec.is_torgb:
            return x.clamp(-spec.conv_clamp, spec.conv_clamp)
        up, down = (self.up_y, self.up_x), (self.down_y, self.down_x)
        return fast.filtered_lrelu(x, up, down, spec.conv_clamp, self.channels_last)

    def _kernel(self, dtype: torch.dtype) -> fast.Kernel:
        """The kernel, prepared for convolutions in `dtype`; once only while its weights are frozen."""
        weight = self.weight
        if weight.requires_grad or weight.is_inference() or torch.compiler.is_compiling():
            return fast.Kernel.of(weight, dtype)
        key = (weight.data_ptr(), weight._version, weight.device, dtype, self.channels_last)
        if self._prepared is None or self._prepared[0] != key:
            # Whoever asks first may be in inference mode, whose tensors no gradient may pass.
            with torch.inference_mode(False), torch.no_grad():
                kernel = fast.Kernel.of(weight, dtype, self.channels_last)
            # While it is held, nothing else can come to lie where these weights were.
            self._prepared = (key, weight.detach(), kernel)
        return self._prepared[2]

    def _matrices(self) -> dict[str, Tensor]:
        """The resampling matrices of the present filters; none for the layer to colours."""
        spec = self.spec
        if spec.is_torgb:
            return {}
        read = spec.in_size + spec.conv_kernel - 1
        gain = spec.up_factor * math.sqrt(plain.LRELU_GAIN)
        up = {
            name: fast.resampling_matrix(read, self.up_filter, up=spec.up_factor, padding=padding, gain=gain)
            for name, padding in (("up_x", spec.padding[:2]), ("up_y", spec.padding[2:]))
        }
        down = {
            f"down_{axis}": fast.resampling_matrix(
                up[f"up_{axis}"].shape[1], self.down_filter, down=spec.down_factor
            )
            for axis in ("x", "y")
        }
        return up | down

    def _load_from_state_dict(self, *args: Any) -> None:
        """Loads, then makes the matrices again: a checkpoint brings filters of its own."""
        super()._load_from_state_dict(*args)
        for name, matrix in self._matrices().items():
            getattr(self, name).copy_(matrix)
