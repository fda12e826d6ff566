"""How the network's numbers become integers of a few bits (Brevitas), as Concrete rounds them."""

import math

import numpy as np
import torch
from brevitas.core.scaling import ScalingImplType
from brevitas.inject.enum import RestrictValueType
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerTensorFloat
from numpy.typing import NDArray
from torch import Tensor, nn

from .features import FEATURE_LIMIT

WEIGHT_CLIP = {2: 1.2, 3: 2.2, 4: 2.8, 5: 5.0, 6: 6.0, 7: 7.0, 8: 8.0}
"""Where weights are first clipped, in their standard deviations, by bits; learned from there.
Up to 4 bits close to the least-squares quantizer of a normal distribution (Max 1960); beyond,
wider, because the weights of a closed-form fit have heavy tails."""
ACTIVATION_PERCENTILE = {1: 85.0, 2: 97.0, 3: 99.0, 4: 99.7}
RANGE_DECAY = 0.9998
"""How slowly the widest accumulator met in training is forgotten, a step."""


class LearnedWeightQuant(Int8WeightPerTensorFloat):  # type: ignore[misc]
    """One learned scale for all weights of a layer (Esser et al. 2020, LSQ)."""

    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
    restrict_scaling_type = RestrictValueType.FP


class InputQuant(Int8ActPerTensorFloat):  # type: ignore[misc]
    """The fixed scale of standardised features."""

    scaling_impl_type = ScalingImplType.CONST
    min_val = -FEATURE_LIMIT
    max_val = FEATURE_LIMIT


def input_scale(bits: int) -> float:
    """What a step of quantized inputs of so many bits stands for."""
    return FEATURE_LIMIT / (1 << (bits - 1))


def quantized_inputs(features: NDArray[np.float32], bits: int) -> NDArray[np.int8]:
    """Features as integers, as the network's entry quantizes them: [n, ...] -> int8 [n, values]."""
    limit = 1 << (bits - 1)
    values = np.rint(features.reshape(len(features), -1) / np.float32(input_scale(bits)))
    return np.asarray(values.clip(-limit, limit - 1), np.int8)


class AccumulatorRounding(nn.Module):
    """Keeps the `bits` highest bits of integer accumulators, as Concrete's rounding does.

    Straight-through in the backward pass. Switched off for export, where the compiler does it.

    Args:
        bits: kept, with the sign.
        wraps: `fill` sets the width (until then nothing is rounded), and a value beyond it comes
            out at the other end; otherwise the width follows the widest accumulator met in
            training.
    """

    def __init__(self, bits: int, *, wraps: bool = False):
        super().__init__()
        self.bits = bits
        self.wraps = wraps
        self.enabled = True
        self.register_buffer("largest", torch.zeros(()))

    @property
    def width(self) -> int:
        """Bits of the accumulators, with their sign."""
        return math.ceil(math.log2(max(float(self.largest), 1.0) + 1)) + 1

    @property
    def limit(self) -> float:
        """Integers beyond it, in either direction, may be rounded to what the width cannot hold."""
        if not self.wraps:
            return 2.0 ** (self.width - 1) - 1
        return 2.0 ** (self.width - 1) * (1 - 2.0**-self.bits)

    def fill(self, width: int) -> None:
        """Set the width in bits, with the sign."""
        self.largest.fill_(2.0 ** (width - 1) - 1)

    def forward(self, values: Tensor, scale: Tensor) -> tuple[Tensor, Tensor | None]:
        """Round `values` (integers times `scale`) to multiples of a power of two.

        Args:
            values: float, any shape.
            scale: float, one for all.

        Returns:
            The rounded values; where they may wrap, also the sign that their lookup gets: a value
            beyond the width turns into one within it, and what is looked up there is negated
            (the ring of TFHE is negacyclic), once for each time it passes an end.
        """
        if self.wraps and not self.largest:
            return values, None
        if self.training and not self.wraps:
            with torch.no_grad():
                largest = (values.abs().amax() / scale.abs().amax()).detach()
                self.largest.copy_(torch.maximum(self.largest * RANGE_DECAY, largest))
        step = scale.detach() * 2 ** max(self.width - self.bits, 0)
        rounded = torch.floor(values / step + 0.5)
        sign = None
        if self.wraps:
            levels = 2 ** min(self.bits, self.width)
            turns = torch.floor(rounded.detach() / levels + 0.5)
            rounded = rounded - turns * levels
            sign = 1.0 - 2.0 * turns.remainder(2)
        return values + (rounded * step - values).detach(), sign
