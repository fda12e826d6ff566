"""Compilation to FHE and the proof of an export."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Probability, Settings


class FheSettings(Settings):
    """Compilation, and what an export must prove before it counts."""

    answer: Literal["logits", "number"] = "logits"
    """What the client decrypts: a logit for every song and for "unknown", from which it ranks songs
    and decides; or the song's number alone (0 for "unknown"), decided under FHE."""
    p_error: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Allowed probability that one PBS (table lookup) is wrong. Where ``answer`` is ``number``, at
    most 1e-6 is used: a single wrong PBS can name any song."""
    rounding_method: Literal["approximate", "exact"] = "approximate"
    """How accumulators are rounded: approximate is about five times as fast."""
    parameter_strategy: Literal["auto", "mono", "precision", "precision_and_norm2"] = "auto"
    """Which table lookups share encryption parameters: all; those of equal width; those of equal
    width and noise. By default those of equal width, and of equal noise where ``answer`` is
    ``number``."""
    response_bits: Annotated[int, Field(strict=True, ge=8, le=64)] = 20
    """Bits kept of each 64-bit word of the response; the low ones hold noise alone. Fewer than
    about three more than the circuit's widest value round the logits."""
    calibration_clips: Annotated[int, Field(strict=True, ge=10, le=2000)] = 100
    """Training clips from which the compiler learns the ranges of all values."""
    check_clips: Annotated[int, Field(strict=True, ge=1, le=1000)] = 10
    """Held-out clips that run in the clear, simulated and under real FHE before an export."""
    tolerance: Probability = 0.2
    """Largest share of those clips whose FHE answer may differ from the quantized network's."""
