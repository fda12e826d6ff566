"""The encoder: one network for all catalogues, trained once on music in general."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from .base import Count, Probability, Settings
from .catalogue import Catalogue
from .signal import SignalSettings
from .training import AugmentSettings


class EncoderNetworkSettings(Settings):
    """Convolutions over the logarithm of a crop's mel power, pooled over time, a linear layer."""

    channels: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = (32, 64, 128, 256)
    """Channels of the convolutions. The first is 5 x 5, the others 3 x 3; all halve bands and
    frames."""
    values: Annotated[int, Field(strict=True, ge=16, le=4096)] = 256
    """Values of an embedding."""
    bits: Annotated[int, Field(strict=True, ge=2, le=8)] = 6
    """Bits of each value of an embedding."""


class EncoderTrainingSettings(Settings):
    """How the encoder learns which crops sound the same moment of a song (InfoNCE)."""

    steps: Count = 1300
    """Steps of the optimiser."""
    pairs: Annotated[int, Field(strict=True, ge=4)] = 192
    """Pairs of a clip's crop and the song's in a step; every other song's crop is a wrong one."""
    remembered: Annotated[int, Field(strict=True, ge=0)] = 2048
    """Songs' crops of earlier steps that are wrong ones, too."""
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = 2e-3
    """The highest; it rises over the first steps and falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Of AdamW."""
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.07
    """Scale of the cosines in the loss."""
    shift_seconds: Annotated[float, Field(ge=0, le=30)] = 0.5
    """How far the two crops of a pair may lie apart."""
    renderings: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    """Augmented renderings of every piece of music, made once and cached."""
    noise_share: Probability = 0.85
    """Share of clips that get noise in each step, at ``augment.snr_db``."""
    checkpoint_every: Count = 100
    """Steps after which an interrupted training goes on."""
    workers: Annotated[int, Field(strict=True, ge=0, le=256)] = 0
    """Processes that render; 0 for one a core."""


class EncoderConfig(Settings):
    """A whole configuration of an encoder: one YAML file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    """Name of the run: its folder is ``<runs>/<name>``."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0
    """Seed of everything random."""
    runs: Path = Path("runs")
    """Folder of run folders and of the shared cache, relative to the working directory."""
    music: Annotated[tuple[Catalogue, ...], Field(min_length=1)]
    """Catalogues to learn from. Of tracks with equal title and artist, the first counts."""
    held_out: tuple[str, ...] = ()
    """Genres or sources that training must not hear, as patterns (``*/Tuxemon``): the encoder is
    judged on them."""
    without_licenses: tuple[str, ...] = ()
    """Licences whose tracks training must not hear, as patterns (``*-NC-*``)."""
    signal: SignalSettings = SignalSettings(bands=64, crop_seconds=3.0)
    """Mel power; ``crop_seconds`` is what the encoder sees at once."""
    augment: AugmentSettings = AugmentSettings(noisy=0.0, reverb=0.6, codec=0.15, speed_percent=6.0)
    network: EncoderNetworkSettings = EncoderNetworkSettings()
    training: EncoderTrainingSettings = EncoderTrainingSettings()

    @model_validator(mode="after")
    def _check(self) -> "EncoderConfig":
        halved = 2 ** len(self.network.channels)
        if self.signal.bands % halved:
            raise ValueError(
                f"signal.bands={self.signal.bands}: {len(self.network.channels)} convolutions "
                f"need a multiple of {halved}"
            )
        return self
