"""The encoder: from a crop's mel power to an embedding that noise and rooms change little.

Each band's power is compared with its own mean over the crop, so that equalizers and levels drop
out; half of that mean's logarithm, relative to the other bands', is added again. Convolutions
follow, their mean and maximum over time, and a linear layer, scaled to unit length. A noisy crop
and the clean one of the same moment point in nearly the same direction.

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

DYNAMIC_FLOOR = 0.01
"""Added to power relative to its band's mean over the crop."""
LIMIT = 4.0
"""Images are clipped to +- this many deviations."""


class Encoder(nn.Module):
    """Mel power of crops -> embeddings.

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
        convolutions: list[nn.Module] = []
        norms: list[nn.Module] = []
        before = 1
        for place, after in enumerate(settings.channels):
            kernel = 5 if place == 0 else 3
            convolutions.append(
                nn.Conv2d(before, after, kernel, 2, padding=kernel // 2, bias=not normed)
            )
            norms.append(nn.BatchNorm2d(after) if normed else nn.Identity())
            before = after
        self.convolutions, self.norms = nn.ModuleList(convolutions), nn.ModuleList(norms)
        rows = signal.bands // 2 ** len(settings.channels)
        self.out = nn.Linear(2 * before * rows, settings.values)
        self.rounding = QuantIdentity(act_quant=InputQuant, bit_width=settings.bits)

    def images(self, power: Tensor) -> Tensor:
        """What the convolutions see: float [crops, bands, frames] -> [crops, 1, bands, frames]."""
        mean = power.mean(2, keepdim=True) + 1e-9
        level = torch.log(mean)
        level = 0.5 * (level - level.mean(1, keepdim=True))
        image = torch.log(power / mean + DYNAMIC_FLOOR) + level
        image = image - image.mean((1, 2), keepdim=True)
        image = image / torch.sqrt(image.square().mean((1, 2), keepdim=True) + 1e-6)
        image = image.clamp(-LIMIT, LIMIT)[:, None]
        return image.contiguous(memory_format=torch.channels_last)  # convolutions are faster so

    def embed(self, power: Tensor) -> Tensor:
        """Embeddings that are not rounded, of unit mean square.

        Args:
            power: float [crops, bands, frames].

        Returns:
            float [crops, values].
        """
        out = self.images(power)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            out = functional.relu(norm(convolution(out)))
        out = torch.cat([out.mean(3), out.amax(3)], 1).flatten(1)
        return functional.normalize(self.out(out), dim=1) * math.sqrt(self.settings.values)

    def forward(self, power: Tensor) -> Tensor:
        """Embeddings as they are encrypted, rounded to ``settings.bits`` bits."""
        rounded: Tensor = self.rounding(self.embed(power))
        return rounded

    def folded(self) -> "Encoder":
        """The same function without batch norm, for inference."""
        plain = Encoder(self.settings, self.signal, normed=False).eval()
        with torch.no_grad():
            for source, norm, target in zip(
                self.convolutions, self.norms, plain.convolutions, strict=True
            ):
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                target.weight.copy_(source.weight * gain.view(-1, *[1] * (source.weight.dim() - 1)))
                target.bias.copy_(norm.bias - norm.running_mean * gain)
            plain.out.load_state_dict(self.out.state_dict())
        return plain
