"""The quantized network and its floating-point twin, built from the same settings.

Quantized: every weight, input and activation is an integer of a few bits (Brevitas), so that
Concrete ML can compile the whole network. Under FHE each activation costs one programmable
bootstrapping (PBS), the only expensive operation; batch norm is folded into its table lookup.
Accumulators are rounded to a few bits before that lookup; the same rounding is applied while
training, so the network learns to live with it.
"""

import math
from collections.abc import Iterator
from typing import Any

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.quant import Uint8ActPerTensorFloat
from torch import Tensor, nn

from ..configs.schema import (
    ConvLayer,
    DenseLayer,
    FilterBankLayer,
    Layer,
    NetworkSettings,
    PoolLayer,
)
from ..support.arrays import Array
from .quantizers import (
    ACTIVATION_PERCENTILE,
    WEIGHT_CLIP,
    AccumulatorRounding,
    InputQuant,
    LearnedWeightQuant,
)
from .rows import Rows

FILTER_GAIN = 200.0
"""Twice the sum of a filter's window when training begins: its weights are then about as large as
a step of training expects (batch norm takes the scale off again)."""


class LogMagnitude(nn.Module):
    """The logarithm of one plus the magnitude: what a filter hears, however loud."""

    def forward(self, values: Tensor) -> Tensor:
        """Element by element."""
        return torch.log(1.0 + values.abs())


class Block(nn.Module):
    """Linear operation, rounding, batch norm, activation."""

    def __init__(
        self,
        linear: nn.Module,
        norm: nn.Module,
        activation: nn.Module,
        rounding: AccumulatorRounding | None = None,
    ):
        super().__init__()
        self.linear = linear
        self.norm = norm
        self.activation = activation
        self.rounding = rounding

    def forward(self, values: Any) -> Any:
        """Apply the block; quantized blocks take and return Brevitas' QuantTensor."""
        out, sign = self.linear(values), None
        if self.rounding is not None and self.rounding.enabled:
            scale = values.scale * self.linear.quant_weight().scale
            out, sign = self.rounding(_plain(out), scale)
        out = self.activation(self.norm(_plain(out)))
        return out if sign is None else out.set(value=out.value * sign)


class Network(nn.Module):
    """Features in, a logit for every row of the known songs and one for "unknown" out.

    Args:
        settings: layers and bits.
        feature_shape: channels, bands, columns.
        classes: rows of the known songs (`hushtune.model.rows`) plus one.
        quantized: False builds the floating-point twin; its weights load into the quantized
            network by `load_from_float`.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        feature_shape: tuple[int, int, int],
        classes: int,
        *,
        quantized: bool,
    ):
        super().__init__()
        self.settings = settings
        self.quantized = quantized
        self.exported = False
        self.entry = (
            qnn.QuantIdentity(
                act_quant=InputQuant, bit_width=settings.input_bits, return_quant_tensor=True
            )
            if quantized
            else nn.Identity()
        )
        self.blocks = nn.ModuleList()
        shape: tuple[int, ...] = feature_shape
        self.positions = 1
        for layer in settings.layers:
            before, shape = shape, shape_after(layer, shape)
            if isinstance(layer, PoolLayer):
                self.positions = math.prod(before[1:])
                break
            bank = isinstance(layer, FilterBankLayer)
            rounding_bits = settings.rounding_bits
            norm: nn.Module = nn.BatchNorm2d(shape[0])
            if isinstance(layer, DenseLayer):
                linear = self._linear(math.prod(before), layer.units, settings.weight_bits)
                norm = nn.BatchNorm1d(layer.units)
            elif isinstance(layer, FilterBankLayer):
                linear = self._conv(layer, before, layer.weight_bits)
                rounding_bits = rounding_bits and layer.rounding_bits
            else:
                linear = self._conv(layer, before, settings.weight_bits)
            rounding = None
            if quantized and rounding_bits is not None:
                rounding = AccumulatorRounding(rounding_bits, wraps=bank)
            self.blocks.append(Block(linear, norm, self._activation(magnitude=bank), rounding))
        self.head = self._linear(math.prod(shape), classes, settings.head_bits)

    def forward(self, features: Tensor) -> Tensor:
        """Logits: float [clips, channels, bands, columns] -> [clips, classes]."""
        out = self.entry(features)
        for block in self.blocks:
            if not isinstance(block.linear, nn.Conv2d):
                out = out.flatten(1) if out.dim() > 2 else out
            out = block(out)
        if self.positions > 1 and not self.exported:
            return _plain(self.head(_plain(out).flatten(2).mean(2)))
        out = out.flatten(1) if out.dim() > 2 else out
        return _plain(self.head(out))

    @property
    def has_filters(self) -> bool:
        """Whether the first layer is a filter bank."""
        return any(isinstance(layer, FilterBankLayer) for layer in self.settings.layers)

    @property
    def _filter_bank(self) -> FilterBankLayer:
        """The settings of the filter bank."""
        layer = self.settings.layers[0]
        if not isinstance(layer, FilterBankLayer):
            raise TypeError(f"layers[0].kind={layer.kind!r}: expected a filterbank.")
        return layer

    @property
    def kept_bits(self) -> list[int]:
        """Bits kept of the accumulators of each hidden layer; empty where all are exact."""
        return [block.rounding.bits for block in self.blocks if block.rounding is not None]

    def logit_step(self) -> float:
        """What all logits of the quantized network are whole multiples of."""
        last = self.blocks[-1].activation if len(self.blocks) else self.entry
        last = last[-1] if isinstance(last, nn.Sequential) else last
        scale = last.quant_act_scale() if len(self.blocks) else last.act_quant.scale()
        step = float(scale * self.head.quant_weight().scale)
        return step if self.exported else step / self.positions

    def load_from_float(self, twin: "Network", examples: Tensor | None = None) -> None:
        """Start from the floating-point twin: its weights, and weight scales that fit them.

        Args:
            twin: trained.
            examples: of training, float [clips, channels, bands, columns], which show a filter
                bank's activation range; needed only where there is one.

        Raises:
            ValueError: a filter bank, and no examples.
        """
        self.load_state_dict(twin.state_dict(), strict=False)
        widest = None
        if self.has_filters:
            if examples is None:
                raise ValueError(
                    "examples=None: a filter bank needs some, to see how far it reaches"
                )
            widest = self._level_filters(examples)
        for module in self.modules():
            if isinstance(module, qnn.QuantConv2d | qnn.QuantLinear):
                bits = int(module.quant_weight_bit_width().item())
                clip = WEIGHT_CLIP[bits] * module.weight.detach().std()
                scaling = module.weight_quant.tensor_quant.scaling_impl
                scaling.value.data.fill_(float(clip))
                scaling.init_done = True  # or Brevitas would multiply by its own statistics
        if widest is not None and self.blocks[0].rounding is not None:
            self._fill_width(widest)

    def for_export(self) -> "Network":
        """Leave the rounding to the compiler and freeze batch norm; returns self.

        A mean over positions becomes part of the head: a weight for each of them, all alike.
        """
        for block in self.blocks:
            if block.rounding is not None:
                block.rounding.enabled = False
        if self.positions > 1 and not self.exported:
            head, share = self.head, 1 / self.positions
            outputs, inputs = head.weight.shape
            wide = self._linear(inputs * self.positions, outputs, self.settings.head_bits)
            with torch.no_grad():
                wide.weight.copy_(share * head.weight.repeat_interleave(self.positions, dim=1))
                if self.quantized:
                    scaling = wide.weight_quant.tensor_quant.scaling_impl
                    narrow = head.weight_quant.tensor_quant.scaling_impl
                    scaling.value.data.copy_(share * narrow.value.data)
                    scaling.init_done = True
            self.head = wide
        self.exported = True
        return self.eval()

    def _level_filters(self, examples: Tensor) -> float:
        """Give all filters the same activation range: rounding then leaves none of them few levels.

        Batch norm takes the gains off again.

        Returns:
            The activation range of all but the layer's share of overflows.
        """
        filters, norm = self.blocks[0].linear, self.blocks[0].norm
        within = 1 - self._filter_bank.overflow
        with torch.no_grad():
            heard = torch.cat(
                [
                    nn.functional.conv2d(part, filters.weight, stride=filters.stride).abs()
                    for part in torch.split(examples, 100)
                ]
            )
            heard = heard.transpose(0, 1).flatten(1)
            widest = heard.kthvalue(math.ceil(within * heard.shape[1]), dim=1).values
            gain = torch.where(widest > 0, widest.mean() / widest, 1.0)
            filters.weight.mul_(gain.view(-1, 1, 1, 1))
            norm.running_mean.mul_(gain)
            norm.running_var.mul_(gain.square())
        return float(widest.mean())

    def _fill_width(self, widest: float) -> None:
        """Coarsen the filters' weights, by half at most, until their range is the width's limit."""
        filters, rounding = self.blocks[0].linear, self.blocks[0].rounding
        scaling = filters.weight_quant.tensor_quant.scaling_impl
        largest = widest / float(self.entry.act_quant.scale() * filters.quant_weight().scale)
        rounding.fill(2)
        while rounding.limit * 2 <= largest:
            rounding.fill(rounding.width + 1)
        scaling.value.data.mul_(largest / rounding.limit)

    def start_filters(self, rate_hz: float) -> None:
        """Let the first layer's filters begin as cosines under a Hann window.

        One phase of each frequency, instead of two of half as many: what one clip's phase hides,
        the next window shows.

        Args:
            rate_hz: of the samples.
        """
        layer = self._filter_bank
        weight = self.blocks[0].linear.weight
        samples = math.prod(weight.shape[2:])
        frequencies = torch.logspace(
            math.log10(layer.f_min_hz), math.log10(layer.f_max_hz), layer.filters
        )
        phase = 2 * math.pi * frequencies[:, None] * torch.arange(samples) / rate_hz
        window = torch.hann_window(samples, periodic=False) * (FILTER_GAIN / samples)
        filters = torch.cos(phase) * window
        with torch.no_grad():
            weight.copy_(filters.view_as(weight))

    def _conv(
        self, layer: ConvLayer | FilterBankLayer, shape: tuple[int, ...], bits: int
    ) -> nn.Module:
        kernel, stride = _window(layer, shape)
        channels = {"in_channels": shape[0], "out_channels": shape_after(layer, shape)[0]}
        arguments: dict[str, Any] = dict(kernel_size=kernel, stride=stride, bias=False, **channels)
        if not self.quantized:
            return nn.Conv2d(**arguments)
        result: nn.Module = qnn.QuantConv2d(
            **arguments, weight_quant=LearnedWeightQuant, weight_bit_width=bits
        )
        return result

    def _linear(self, inputs: int, outputs: int, bits: int) -> nn.Module:
        if not self.quantized:
            return nn.Linear(inputs, outputs, bias=False)
        result: nn.Module = qnn.QuantLinear(
            inputs, outputs, bias=False, weight_quant=LearnedWeightQuant, weight_bit_width=bits
        )
        return result

    def _activation(self, *, magnitude: bool) -> nn.Module:
        relu = nn.ReLU() if not self.quantized else self._quantized_relu()
        return nn.Sequential(LogMagnitude(), relu) if magnitude else relu

    def _quantized_relu(self) -> nn.Module:
        bits = self.settings.activation_bits
        result: nn.Module = qnn.QuantReLU(
            act_quant=Uint8ActPerTensorFloat,
            bit_width=bits,
            high_percentile_q=ACTIVATION_PERCENTILE.get(bits, 99.9),
            collect_stats_steps=30,
            return_quant_tensor=True,
        )
        return result


def shape_after(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What a layer makes of channels, bands and columns: the shape of its output, of one clip."""
    if isinstance(layer, PoolLayer):
        return shape[:1]
    if isinstance(layer, DenseLayer):
        return (layer.units,)
    kernel, stride = _window(layer, shape)
    channels = layer.filters if isinstance(layer, FilterBankLayer) else layer.channels
    return channels, *(
        (size - width) // step + 1
        for size, width, step in zip(shape[1:], kernel, stride, strict=True)
    )


def _window(
    layer: ConvLayer | FilterBankLayer, shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and step of a convolution over features of that shape."""
    if isinstance(layer, FilterBankLayer):
        return (layer.blocks, shape[2]), (1, 1)
    return (min(layer.kernel[0], shape[1]), min(layer.kernel[1], shape[2])), layer.stride


def _plain(values: Any) -> Tensor:
    plain: Tensor = values.value if hasattr(values, "value") else values
    return plain


def network_logits(network: Network, features: Tensor) -> Array:
    """Logits of a network in its inference mode: float64 [clips, rows + 1]."""
    return np.concatenate(list(_logits(network, features)))


def song_scores(network: Network, rows: Rows, features: Tensor) -> Array:
    """Songs' scores of a network in its inference mode: float64 [clips, songs + 1]."""
    return np.concatenate([rows.scores(logits) for logits in _logits(network, features)])


def _logits(network: Network, features: Tensor) -> Iterator[Array]:
    """Logits of some clips after others."""
    network.eval()
    with torch.no_grad():
        for part in torch.split(features, 256):
            yield network(part).double().numpy()
