"""The layers of the network and their bits."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Count, Settings, WeightBits


class ConvLayer(Settings):
    """A quantized convolution over (band, column), then batch norm and a quantized ReLU."""

    kind: Literal["conv"]
    channels: Annotated[int, Field(strict=True, ge=1, le=1024)]
    """Output channels."""
    kernel: tuple[Count, Count]
    """Kernel size (bands, columns); cut to the features where larger."""
    stride: tuple[Count, Count] = (1, 1)
    """Step (bands, columns)."""


class DenseLayer(Settings):
    """A quantized dense layer, then batch norm and a quantized ReLU."""

    kind: Literal["dense"]
    units: Annotated[int, Field(strict=True, ge=1, le=4096)]
    """Output units."""


class FilterBankLayer(Settings):
    """Filters on samples (a strided convolution), each followed by the logarithm of its magnitude;
    they begin as windowed cosines and are trained on."""

    kind: Literal["filterbank"]
    filters: Annotated[int, Field(strict=True, ge=1, le=256)] = 24
    """How many; each begins at a frequency of its own."""
    blocks: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    """Length of the filters in blocks of samples; they step by one block."""
    f_min_hz: Annotated[float, Field(gt=0)] = 110.0
    """Lowest frequency they begin with, in Hz; the others follow in equal ratios."""
    f_max_hz: Annotated[float, Field(gt=0)] = 1800.0
    """Highest frequency, in Hz."""
    weight_bits: WeightBits = 8
    """Bits of the filters' weights; more than those of later layers, because faint bands are
    amplified, so that all of them reach equally far."""
    rounding_bits: Annotated[int, Field(strict=True, ge=2, le=8)] = 4
    """Bits kept of what a filter gives before the table lookup of its magnitude. Exact where
    ``network.rounding_bits`` is null."""
    overflow: Annotated[float, Field(ge=0, le=0.01)] = 3e-4
    """Share of outputs, of training clips, so loud that they may exceed these bits, which makes
    their lookup wrong, so that all others are rounded less: music swells and fades."""


class PoolLayer(Settings):
    """The mean over all positions, for what does not depend on when; it costs nothing."""

    kind: Literal["pool"]


Layer = Annotated[ConvLayer | DenseLayer | FilterBankLayer | PoolLayer, Field(discriminator="kind")]


class NetworkSettings(Settings):
    """The network: hidden layers, then one linear layer with a logit per class."""

    layers: tuple[Layer, ...] = ()
    """Hidden layers; an empty list leaves a single linear quantized layer (no PBS)."""
    inputs: Annotated[int, Field(strict=True, ge=32)] | None = 2048
    """Selected features: how many are encrypted and read, those to which a fit to all features
    gives most weight; all where null. With hidden layers, always all."""
    input_bits: Annotated[int, Field(strict=True, ge=2, le=8)] = 6
    """Bits of each encrypted input value."""
    weight_bits: WeightBits = 4
    """Bits of hidden weights."""
    activation_bits: Annotated[int, Field(strict=True, ge=1, le=6)] = 3
    """Bits of activations."""
    head_bits: WeightBits = 6
    """Bits of the last layer's weights."""
    rounding_bits: Annotated[int, Field(strict=True, ge=2, le=8)] | None = 5
    """Bits kept of each accumulator before its table lookup (PBS), in training and
    under FHE; null for exact lookups."""

    @model_validator(mode="before")
    @classmethod
    def _read_all(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("layers") and "inputs" not in data:
            return {**data, "inputs": None}
        return data

    @model_validator(mode="after")
    def _check(self) -> "NetworkSettings":
        kinds = [layer.kind for layer in self.layers]
        if kinds and self.inputs is not None:
            raise ValueError(f"inputs={self.inputs}: with hidden layers all features are read")
        if "dense" in kinds and "conv" in kinds[kinds.index("dense") :]:
            raise ValueError(f"layers={kinds}: a conv layer cannot follow a dense one")
        if "filterbank" in kinds[1:]:
            raise ValueError(f"layers={kinds}: a filterbank can only be the first layer")
        if "pool" in kinds[:-1] or kinds == ["pool"]:
            raise ValueError(f"layers={kinds}: pool can only be the last layer, after others")
        if kinds[-2:] == ["dense", "pool"]:
            raise ValueError(f"layers={kinds}: a dense layer leaves no positions to pool")
        return self
