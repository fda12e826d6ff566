"""Typed settings: one small model a section, each field documented and checked on its own.

``loading.load_config`` reads a YAML file into :class:`Config`. Paths in a file are relative to
the folder that file lies in (but ``runs``, which is written to, to the working directory).
Every model refuses unknown keys.
"""

from .base import Count, Probability, Range, Settings, WeightBits
from .catalogue import (
    Catalogue,
    ComposedCatalogue,
    CsvCatalogue,
    FmaCatalogue,
    FolderCatalogue,
    JoinedCatalogue,
    SplitSettings,
)
from .config import Config
from .enrolment import EnrolmentSettings
from .fhe import FheSettings
from .network import ConvLayer, DenseLayer, FilterBankLayer, Layer, NetworkSettings, PoolLayer
from .signal import (
    EmbeddingSpectrum,
    MelSpectrum,
    ModulationSpectrum,
    RawSamples,
    SignalSettings,
    Spectrum,
)
from .training import AugmentSettings, FoldSettings, TrainingSettings

__all__ = [
    "AugmentSettings",
    "Catalogue",
    "ComposedCatalogue",
    "Config",
    "ConvLayer",
    "Count",
    "CsvCatalogue",
    "DenseLayer",
    "EmbeddingSpectrum",
    "EnrolmentSettings",
    "FheSettings",
    "FilterBankLayer",
    "FmaCatalogue",
    "FoldSettings",
    "FolderCatalogue",
    "JoinedCatalogue",
    "Layer",
    "MelSpectrum",
    "ModulationSpectrum",
    "NetworkSettings",
    "PoolLayer",
    "Probability",
    "Range",
    "RawSamples",
    "Settings",
    "SignalSettings",
    "Spectrum",
    "SplitSettings",
    "TrainingSettings",
    "WeightBits",
]
