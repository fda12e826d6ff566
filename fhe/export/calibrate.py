"""The features from which the compiler learns the range of every value."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...model.features import FEATURE_LIMIT
from ...model.network import Network
from ...support.errors import CompileError
from ...support.seeds import Stream
from ...training.data.pool import TrainingData
from ...training.run import Run
from ...training.trainer import training_examples

POOL = 20
"""Calibration clips are the most extreme and random ones of this many times their number."""
LEAST_CLIPS = 20
"""Fewer clips than these do not show the ranges."""
HEADROOM = 1.25
"""How much further than those a clip may drive the logits of a network without hidden layers."""


def calibration_features(
    run: Run, network: Network, data: TrainingData | None
) -> npt.NDArray[np.float32]:
    """Training features that span the ranges of all accumulators.

    Half are those that drive the first layer furthest, half are random; but none goes beyond the
    width that layer was trained to be rounded at, else the compiler would round more coarsely.
    Without hidden layers nothing saturates, and a logit beyond the circuit's range would wrap
    around; so some features are added that go further than any clip did.

    Args:
        run: trained.
        network: its quantized network.
        data: what it was trained on, with hidden layers; prepared where None.

    Returns:
        float32 [clips, channels, bands, columns].

    Raises:
        CompileError: too few clips stay within that width.
    """
    wanted = run.config.fhe.calibration_clips
    features = training_examples(run, data, POOL * wanted)
    ranges, limit = activation_ranges(network, features)
    features, ranges = features[ranges <= limit], ranges[ranges <= limit]
    if len(features) < min(wanted, LEAST_CLIPS):
        raise CompileError(
            f"Only {len(features)} of {POOL * wanted} training clips stay within the bits that the "
            "first layer keeps; the compiler needs more to learn the ranges from. Raise "
            "fhe.calibration_clips or lower the filter bank's overflow, and train again."
        )
    wanted = min(wanted, len(features))
    extreme = ranges.argsort(descending=True)[: wanted // 2]
    rng = np.random.default_rng([run.config.seed, Stream.COMPILER_INPUTS])
    others = rng.choice(len(features), wanted - len(extreme), replace=False)
    chosen = features[np.concatenate([extreme.numpy(), others])]
    if not len(network.blocks):
        further = (HEADROOM * features[extreme[:10]]).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        chosen = torch.cat([chosen, further])
    return np.asarray(chosen.numpy(), np.float32)


def activation_ranges(network: Network, features: Tensor) -> tuple[Tensor, float]:
    """How far features drive the first layer's accumulators, and how far they should.

    Args:
        network: quantized.
        features: float32 [clips, channels, bands, columns].

    Returns:
        Each clip's largest absolute accumulator, as an integer, float [clips]; the largest one that
        fits the width the layer was trained at.
    """
    block = network.blocks[0] if len(network.blocks) else None
    first = block.linear if block else network.head
    rounding = block.rounding if block else None
    limit = rounding.limit if rounding else float("inf")
    ranges = []
    with torch.no_grad():
        for part in torch.split(features, 256):
            entry = network.entry(part)
            flat = entry if isinstance(first, torch.nn.Conv2d) else entry.flatten(1)
            out = first(flat)
            out = out.value if hasattr(out, "value") else out
            scale = entry.scale * first.quant_weight().scale
            ranges.append((out / scale).abs().flatten(1).amax(1))
    return torch.cat(ranges), limit
