"""The encoder: from mel power of any length to an embedding that noise and rooms change little.

Power is compared with its band's own mean over a few seconds, so that equalizers and levels drop
out; that mean, too, is an input. Convolutions make of every moment a vector of features; their
mean over the clip, sent through a linear layer and scaled to unit length, is the embedding. A clip
and the stretch of the song that it comes from point in nearly the same direction.

The network is trained by `hushtune.training.encoder`, with its output rounded to a few bits as it
is encrypted (Brevitas), and shipped as weights (``.safetensors``, float16) and a graph (``.onnx``)
that reads them, so that a client needs onnxruntime alone.
"""

import math

import torch
from brevitas.nn import QuantIdentity
from torch import Tensor, nn
from torch.nn import functional

from ..configs.schema import SignalSettings
from ..configs.schema.encoder import EncoderNetworkSettings
from .quantizers import InputQuant

DYNAMIC_FLOOR = 0.1
"""Added to power relative to its mean: noise would fill what lies below."""
LEVEL_LIMIT = 4.0
"""Relative levels of bands are clipped to +- this (nepers of amplitude)."""
CENTRE = 0.5
"""Added to the logarithm of relative power, whose mean is about minus that."""


class Encoder(nn.Module):
    """Mel power -> embeddings.

    Args:
        settings: sizes of the layers.
        signal: of the mel power; its bands must halve as often as there are convolutions.
        normed: with batch norm, for training; else with biases into which it was folded.
    """

    def __init__(
        self, settings: EncoderNetworkSettings, signal: SignalSettings, *, normed: bool = True
    ):
        super().__init__()
        self.settings, self.signal = settings, signal
        frame_seconds = settings.merged_frames * signal.hop_ms / 1000
        self._reach = max(1, round(settings.level_seconds / frame_seconds / 2))
        convolutions: list[nn.Module] = []
        norms: list[nn.Module] = []
        before, count = 2, len(settings.channels)
        for place, after in enumerate(settings.channels):
            kernel = 5 if place == 0 else 3
            stride = (2, 1) if place == count - 1 else (2, 2)
            convolutions.append(
                nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=not normed)
            )
            norms.append(nn.BatchNorm2d(after) if normed else nn.Identity())
            before = after
        self.convolutions, self.norms = nn.ModuleList(convolutions), nn.ModuleList(norms)
        rows = signal.bands // 2**count
        self.mix = nn.Conv1d(before * rows, settings.hidden, 1, bias=not normed)
        self.mix_norm: nn.Module = nn.BatchNorm1d(settings.hidden) if normed else nn.Identity()
        self.out = nn.Linear(settings.hidden, settings.values)
        self.rounding = QuantIdentity(act_quant=InputQuant, bit_width=settings.bits)

    def images(self, power: Tensor) -> Tensor:
        """What the convolutions see: relative power and relative levels.

        Args:
            power: float [clips, bands, frames].

        Returns:
            float [clips, 2, bands, frames / merged_frames].
        """
        power = functional.avg_pool1d(power, self.settings.merged_frames)
        width = 2 * self._reach + 1
        mean = functional.avg_pool1d(power, width, 1, self._reach, count_include_pad=False) + 1e-9
        relative = torch.log(power / mean + DYNAMIC_FLOOR) + CENTRE
        level = torch.log(mean)
        level = 0.5 * (level - level.mean(1, keepdim=True))
        images = torch.stack([relative, level.clamp(-LEVEL_LIMIT, LEVEL_LIMIT)], 1)
        return images.contiguous(memory_format=torch.channels_last)  # convolutions are faster so

    def embed(self, power: Tensor) -> Tensor:
        """Embeddings that are not rounded, of unit mean square.

        Args:
            power: float [clips, bands, frames].

        Returns:
            float [clips, values].
        """
        out = self.images(power)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            out = functional.relu(norm(convolution(out)))
        out = out.flatten(1, 2)
        out = functional.relu(self.mix_norm(self.mix(out)))
        out = self.out(out.mean(2))
        return functional.normalize(out, dim=1) * math.sqrt(self.settings.values)

    def forward(self, power: Tensor) -> Tensor:
        """Embeddings as they are encrypted, rounded to ``settings.bits`` bits."""
        rounded: Tensor = self.rounding(self.embed(power))
        return rounded

    def folded(self) -> "Encoder":
        """The same function without batch norm, for inference."""
        plain = Encoder(self.settings, self.signal, normed=False).eval()
        with torch.no_grad():
            for source, norm, target in zip(
                [*self.convolutions, self.mix],
                [*self.norms, self.mix_norm],
                [*plain.convolutions, plain.mix],
                strict=True,
            ):
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                target.weight.copy_(source.weight * gain.view(-1, *[1] * (source.weight.dim() - 1)))
                target.bias.copy_(norm.bias - norm.running_mean * gain)
            plain.out.load_state_dict(self.out.state_dict())
        return plain
