"""Typed settings: one small model a section, each field documented and checked on its own.

``loading.load_config`` reads a YAML file into :class:`Config`. Paths in a file are relative to
the folder that file lies in (but ``runs``, which is written to, to the working directory).
Every model refuses unknown keys.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(strict=True, ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]
WeightBits = Annotated[int, Field(strict=True, ge=2, le=8)]


class Settings(BaseModel):
    """Base of all sections: immutable, strict about unknown keys, documented by docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FolderCatalogue(Settings):
    """A folder of audio files, searched in depth."""

    kind: Literal["folder"]
    path: Path
    """Folder; title and artist come from tags, else from the name ``Artist - Title.ext``."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class CsvCatalogue(Settings):
    """A CSV manifest with the columns ``id,title,artist,path``, and ``genre`` and ``license`` where
    they are known (others are ignored)."""

    kind: Literal["csv"]
    path: Path
    """The CSV file; its ``path`` column is relative to the folder the CSV lies in."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class FmaCatalogue(Settings):
    """The Free Music Archive data set as its authors lay it out."""

    kind: Literal["fma"]
    path: Path
    """Folder that holds ``fma_metadata/tracks.csv`` and the audio folder."""
    subset: Literal["small", "medium", "large", "full"] = "small"
    """Audio folder: ``fma_small``, ``fma_medium``, ``fma_large`` or ``fma_full``."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class ComposedCatalogue(Settings):
    """Songs that Hushtune composes itself, for a demo that needs no music."""

    kind: Literal["composed"]
    tracks: Annotated[int, Field(strict=True, ge=6, le=5000)] = 96
    """How many songs to compose."""
    seconds: Annotated[float, Field(ge=12, le=300)] = 30.0
    """Length of each song in seconds."""
    seed: Annotated[int, Field(strict=True)] = 0
    """Seed of the composer."""
    strict: bool = False
    """Kept for symmetry with the other kinds; composed songs are always usable."""


class JoinedCatalogue(Settings):
    """Several catalogues as one, for instance to see how a catalogue grows."""

    kind: Literal["joined"]
    parts: Annotated[tuple["Catalogue", ...], Field(min_length=2, max_length=16)]
    """The catalogues. All of their tracks are enrolled, except those of the first one that are
    held out as unknown songs. Ids must differ; those of composed songs get ``composed-SEED-`` in
    front."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


Catalogue = Annotated[
    FolderCatalogue | CsvCatalogue | FmaCatalogue | ComposedCatalogue | JoinedCatalogue,
    Field(discriminator="kind"),
]


class SplitSettings(Settings):
    """Which tracks are enrolled, and which unknown songs train and test their rejection."""

    enrolled: Annotated[int, Field(strict=True, ge=2)] | None = None
    """Tracks to enrol at most, drawn at random; the others are left out. All where null."""
    known_unknowns: Annotated[int, Field(strict=True, ge=3)] = 60
    """Known unknowns: tracks that are not enrolled, train the class "unknown" and set the threshold
    of the open-set decision. About so many, because artists are moved whole."""
    unknown_test: Count = 60
    """Tracks never used in training, to measure how many clips of unknown songs are rejected.
    About so many, likewise."""


class SignalSettings(Settings):
    """From waveform to mel power. One set of constants for training and the client."""

    sample_rate_hz: Annotated[int, Field(strict=True, ge=4000, le=48000)] = 16000
    """Sample rate every clip is resampled to, in Hz."""
    window_ms: Annotated[float, Field(ge=8, le=256)] = 128.0
    """Length of the short-time Fourier window, in ms."""
    hop_ms: Annotated[float, Field(ge=4, le=256)] = 32.0
    """Step between two frames, in ms."""
    bands: Annotated[int, Field(strict=True, ge=4, le=256)] = 128
    """Number of mel bands."""
    f_min_hz: Annotated[float, Field(ge=0)] = 30.0
    """Lower edge of the lowest band, in Hz."""
    f_max_hz: Annotated[float, Field(gt=0)] = 6000.0
    """Upper edge of the highest band, in Hz."""
    crop_seconds: Annotated[float, Field(ge=2, le=20)] = 10.0
    """Length of the piece of music the network sees at once, in seconds."""

    @model_validator(mode="after")
    def _check(self) -> "SignalSettings":
        nyquist = self.sample_rate_hz / 2
        if not self.f_min_hz < self.f_max_hz <= nyquist:
            raise ValueError(
                f"f_min_hz={self.f_min_hz} and f_max_hz={self.f_max_hz} must rise and stay "
                f"within half the sample rate ({nyquist} Hz)"
            )
        if self.hop_ms > self.window_ms:
            raise ValueError(f"hop_ms={self.hop_ms} must not exceed window_ms={self.window_ms}")
        return self


class MelSpectrum(Settings):
    """The normalised log-mel crop itself: one channel, bands x frames."""

    kind: Literal["mel"]
    frames: Annotated[int, Field(strict=True, ge=4, le=400)] = 50
    """Frames of the crop after averaging neighbouring ones."""


class ModulationSpectrum(Settings):
    """The shift-invariant spectrum: FFTs over time of every band (see the docs, front end)."""

    kind: Literal["modulation"] = "modulation"
    window_seconds: Annotated[float, Field(ge=0.5, le=20)] = 2.5
    """Length of the windows whose spectra are averaged over the clip, in seconds."""
    hop_seconds: Annotated[float, Field(ge=0.1, le=20)] = 0.625
    """Step between those windows, in seconds."""
    more_windows: Annotated[
        tuple[Annotated[float, Field(ge=0.5, le=20)], ...], Field(max_length=3)
    ] = ()
    """Further lengths of windows, in seconds, in steps of a quarter: several time scales at once.
    Each adds the channels of magnitudes and relations once more."""
    compression: Literal["log", "pcen"] = "log"
    """How each band's power is compressed before its spectrum is taken: the logarithm relative to
    the band's mean over the clip, or per-channel energy normalisation, which is relative to what
    the band did just before."""
    bins: Annotated[int, Field(strict=True, ge=1, le=128)] = 8
    """Modulation bins used, from 1/window_seconds Hz upwards."""
    distances: Annotated[tuple[Count, ...], Field(max_length=8)] = (1, 2, 4)
    """Band distances whose phase relations are used; each adds two channels."""
    quantiles: bool = True
    """Add a channel of spectral quantiles, the long-term spectrum: as many quantiles over time as
    there are bins."""


class RawSamples(Settings):
    """The samples themselves, at unit power, in blocks; no spectrum. The server does the rest,
    beginning with a filter bank."""

    kind: Literal["samples"]
    rate_hz: Annotated[int, Field(strict=True, ge=1000, le=16000)] = 4000
    """Samples encrypted a second."""
    block: Annotated[int, Field(strict=True, ge=16, le=4000)] = 320
    """Samples in a block: the step of the filter bank."""


Spectrum = Annotated[MelSpectrum | ModulationSpectrum | RawSamples, Field(discriminator="kind")]


class AugmentSettings(Settings):
    """What a phone does to music, applied to the waveform in this order."""

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
    inputs: Annotated[int, Field(strict=True, ge=32)] | None = 1536
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


class TrainingSettings(Settings):
    """How long, how fast, on what mixture."""

    views: Annotated[int, Field(strict=True, ge=1, le=256)] = 8
    """Augmented renderings of every track, made once and cached."""
    view_seconds: Annotated[float, Field(ge=4, le=120)] = 30.0
    """Length of a rendering: a random piece of longer tracks, all of shorter ones."""
    ridge: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Penalty on the weights of a network without hidden layers, whose floating-point twin is
    fitted in closed form; a share of the mean power of a feature."""
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
    noise_share: Probability = 0.8
    """Share of training examples with further noise mixed in as mel power (cheap variety)."""
    short_clip_share: Probability = 0.1
    """Share of training examples cut to between 3 s and the crop length."""
    examples: Annotated[int, Field(strict=True, ge=500, le=10_000_000)] = 100_000
    """Training examples made once, in parallel, from which each step draws at random (making one
    costs far more than a step)."""
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


class Config(Settings):
    """A whole Hushtune configuration: one YAML file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    """Name of the run: its folder is ``<runs>/<name>``."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0
    """Seed of the split, the augmentation and the training."""
    runs: Path = Path("runs")
    """Folder of run folders and of the shared cache, relative to the working directory."""
    catalogue: Catalogue
    split: SplitSettings = SplitSettings()
    signal: SignalSettings = SignalSettings()
    spectrum: Spectrum = ModulationSpectrum()
    augment: AugmentSettings = AugmentSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    fhe: FheSettings = FheSettings()
    fold: FoldSettings | None = None
    """Set by ``hushtune evaluate``: the fold of a cross-validation that this run trains for."""

    @property
    def fold_number(self) -> int:
        """Number of the fold, 0 outside of a cross-validation; also of the sounds that test."""
        return self.fold.number if self.fold else 0

    @property
    def sound_groups(self) -> int:
        """Groups of recordings: one for each fold, or one for testing and one for training."""
        return self.fold.of if self.fold else 2

    @model_validator(mode="after")
    def _check(self) -> "Config":
        layers = self.network.layers
        bank = layers[0] if layers and isinstance(layers[0], FilterBankLayer) else None
        if isinstance(self.spectrum, RawSamples):
            if bank is None:
                raise ValueError(
                    "spectrum.kind=samples: network.layers must begin with a filterbank"
                )
            rate = self.spectrum.rate_hz
            if rate > self.signal.sample_rate_hz:
                raise ValueError(
                    f"spectrum.rate_hz={rate} must not exceed signal.sample_rate_hz="
                    f"{self.signal.sample_rate_hz}"
                )
            if not bank.f_min_hz <= bank.f_max_hz <= rate / 2:
                raise ValueError(
                    f"filterbank: f_min_hz={bank.f_min_hz:g} and f_max_hz={bank.f_max_hz:g} must "
                    f"rise and stay within half of spectrum.rate_hz ({rate / 2:g} Hz)"
                )
        elif bank is not None:
            raise ValueError("network.layers: a filterbank needs spectrum.kind=samples")
        if isinstance(self.spectrum, ModulationSpectrum):
            seconds = min(self.spectrum.window_seconds, self.signal.crop_seconds)
            most = int(seconds * 1000 / self.signal.hop_ms / 2)
            if self.spectrum.bins > most:
                raise ValueError(
                    f"spectrum.bins={self.spectrum.bins}: a window of {seconds:g} s at "
                    f"signal.hop_ms={self.signal.hop_ms:g} has only {most}"
                )
            if any(distance >= self.signal.bands for distance in self.spectrum.distances):
                raise ValueError(
                    f"spectrum.distances={list(self.spectrum.distances)} must be smaller than "
                    f"signal.bands={self.signal.bands}"
                )
        return self
