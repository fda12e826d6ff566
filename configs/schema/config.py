"""The whole configuration: all sections, and what they must agree on."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from .base import Settings
from .catalogue import Catalogue, SplitSettings
from .enrolment import EnrolmentSettings
from .fhe import FheSettings
from .network import FilterBankLayer, NetworkSettings
from .signal import ModulationSpectrum, RawSamples, SignalSettings, Spectrum
from .training import AugmentSettings, FoldSettings, TrainingSettings


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
    enrolment: EnrolmentSettings = EnrolmentSettings()
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

    @property
    def clip_lengths(self) -> tuple[float, ...]:
        """Lengths of clips that the open-set decision is calibrated for, in s, rising."""
        crop = self.signal.crop_seconds
        shorter = {seconds for seconds in self.training.calibrated_seconds if seconds < crop}
        return (*sorted(shorter), crop)

    @model_validator(mode="after")
    def _check(self) -> "Config":
        layers = self.network.layers
        if layers and self.split.known_unknowns < 3:
            raise ValueError(
                f"split.known_unknowns={self.split.known_unknowns}: a network with hidden layers "
                "needs at least 3 songs that are not enrolled, to learn what unknown ones look like"
            )
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
