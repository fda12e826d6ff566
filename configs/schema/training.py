"""What training hears, how it learns, and what a fold of a cross-validation holds out."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Count, Probability, Range, Settings


class AugmentSettings(Settings):
    """What a phone does to music, applied to the waveform: speed, equalizer, reverb, noise, level,
    clipping, codec, in this order."""

    noise: Path | None = None
    """CSV (column ``path``, optionally ``source_path``) or folder of noise recordings;
    synthesised noise where none is given."""
    impulse_responses: Path | None = None
    """CSV or folder of impulse responses; synthesised rooms where none is given."""
    noisy: Probability = 0.25
    """Share of renderings with noise mixed into the waveform (test clips: all). The others get
    theirs in each training batch, see ``training.noise_share``."""
    snr_db: Range = (0.0, 20.0)
    """Signal-to-noise ratio, drawn evenly between the two, in dB."""
    test_snr_db: Annotated[tuple[float, ...], Field(min_length=1)] = (0, 5, 10, 15, 20)
    """Signal-to-noise ratios of the test clips, in equal parts, in dB."""
    reverb: Probability = 0.5
    """Share of clips that go through an impulse response."""
    equalizer: Probability = 0.7
    """Share of clips with a random three-band equalizer."""
    equalizer_db: Annotated[float, Field(ge=0, le=24)] = 8.0
    """Largest gain or cut of each equalizer band, in dB."""
    gain_db: Range = (-20.0, 0.0)
    """Recording level, drawn evenly, in dB."""
    clipping: Probability = 0.1
    """Share of clips whose loudest 0.1-2 % of samples are clipped."""
    codec: Probability = 0.2
    """Share of clips coded as low-rate MP3 or, as often, as a telephone band."""
    speed_percent: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Largest change of speed (and pitch) in either direction, in percent."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of noise recordings and impulse responses kept for test clips alone."""

    @model_validator(mode="after")
    def _check(self) -> "AugmentSettings":
        for name in ("snr_db", "gain_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}={[low, high]} must be given as [lowest, highest]")
        return self


class TrainingSettings(Settings):
    """How long, how fast, on what mixture."""

    views: Annotated[int, Field(strict=True, ge=1, le=256)] = 4
    """Augmented renderings of every stretch of music."""
    view_seconds: Annotated[float, Field(ge=4, le=120)] = 30.0
    """Length of the stretches that longer tracks are cut into; they overlap by a crop."""
    shrinkage: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Without hidden layers: added to the variance of every feature within a row before weights are
    fitted, as a share of the mean variance."""
    float_steps: Count = 3000
    """Optimiser steps of the floating-point twin, where it has hidden layers."""
    quantized_steps: Count = 500
    """Optimiser steps of the quantized network, which starts from the twin."""
    batch_size: Annotated[int, Field(strict=True, ge=8, le=4096)] = 128
    """Clips in a batch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Peak learning rate of the floating-point twin (one cycle, AdamW)."""
    quantized_learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    """Peak learning rate of the quantized network."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1.0
    """AdamW weight decay; strong, because a clip is a small sample of its song's conditions."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Label smoothing of the cross-entropy."""
    distillation: Probability = 0.5
    """Weight of the twin's answers against the labels while training the quantized network."""
    known_unknown_share: Probability = 0.06
    """Share of each batch from known unknowns, see ``split.known_unknowns``."""
    synthetic_negative_share: Probability = 0.06
    """Share of each batch that are synthetic negatives: known tracks changed beyond recognition,
    labelled unknown (0 switches them off)."""
    false_alarm_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Share of clips of unknown songs that may be taken for a known one; sets the threshold."""
    decision_clips: Annotated[int, Field(strict=True, ge=20, le=100_000)] = 1000
    """Clips of known and of unknown songs, about as many of each, that calibrate the decision."""
    noise_share: Probability = 0.8
    """Share of training examples with further noise mixed in as mel power (cheap variety)."""
    short_clip_share: Probability = 0.5
    """Share of training examples cut to between 3 s and the crop length."""
    crops: Annotated[int, Field(strict=True, ge=4, le=1024)] = 24
    """Without hidden layers: training examples of each rendering."""
    calibrated_seconds: Annotated[
        tuple[Annotated[float, Field(ge=1, le=20)], ...], Field(max_length=8)
    ] = (3.0, 5.0)
    """Lengths of clips that the open-set decision is calibrated for, beside a crop's."""
    examples: Annotated[int, Field(strict=True, ge=500, le=10_000_000)] = 100_000
    """With hidden layers: training examples made once, in parallel, from which each step draws at
    random (making one costs far more than a step)."""
    checkpoint_every: Annotated[int, Field(strict=True, ge=25, multiple_of=25)] = 500
    """Optimiser steps between checkpoints (and validations)."""
    workers: Annotated[int, Field(strict=True, ge=0, le=256)] = 0
    """Processes that prepare data; 0 for one a core."""

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        taken = self.known_unknown_share + self.synthetic_negative_share
        if taken > 0.9:
            raise ValueError(
                f"known_unknown_share + synthetic_negative_share = {taken:g} must leave a tenth of "
                "each batch for known songs"
            )
        return self


class FoldSettings(Settings):
    """One fold of a cross-validation: what this run must not train on.

    Each class is one track, so a fold cannot leave tracks out. ``conditions`` leaves out a share of
    the noise recordings and impulse responses: unseen conditions on enrolled audio. ``segments``
    leaves out, beside those, one contiguous part of every track, with a guard on both sides as long
    as the clip that is tested. ``halves`` is that with two parts and no guard: the 15 s / 15 s case
    of the bounty's winner.
    """

    protocol: Literal["conditions", "segments", "halves"]
    """What is left out."""
    number: Annotated[int, Field(strict=True, ge=0)]
    """Which fold, from 0."""
    of: Annotated[int, Field(strict=True, ge=2, le=50)]
    """How many folds there are."""

    @model_validator(mode="after")
    def _check(self) -> "FoldSettings":
        if self.number >= self.of:
            raise ValueError(f"number={self.number} must be less than of={self.of}")
        if self.protocol == "halves" and self.of != 2:
            raise ValueError(f"of={self.of}: the protocol 'halves' has two folds")
        return self

    @property
    def holds_out_segments(self) -> bool:
        """Whether parts of the tracks are left out, too."""
        return self.protocol != "conditions"
