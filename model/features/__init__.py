"""The front end: waveform -> what is analysed frame by frame -> the features that are encrypted.

The very code that makes the training examples makes the client's query. It needs NumPy and SciPy
alone, and onnxruntime for an embedding. One choice in the configuration (``spectrum.kind``) picks
the front end:

``mel``
    the normalised log-mel crop, see `mel`.
``modulation``
    its shift-invariant modulation spectrum, see `modulation`.
``samples``
    no spectrum: samples at a low rate, see `samples`.
``embedding``
    what a trained encoder makes of mel power, see `embedding`.
"""

from pathlib import Path

import numpy as np

from ...configs.schema import EmbeddingSpectrum, MelSpectrum, RawSamples, SignalSettings, Spectrum
from ...support.arrays import read_array
from ...support.errors import ArrayFileError
from .base import FEATURE_LIMIT, Features, FrontEnd, Places
from .embedding import EmbeddingFrontEnd, OnnxEncoder
from .mel import MelFrontEnd, MelPower
from .modulation import ModulationFrontEnd
from .samples import SamplesFrontEnd, unit_power

__all__ = [
    "FEATURE_LIMIT",
    "EmbeddingFrontEnd",
    "Features",
    "FrontEnd",
    "MelFrontEnd",
    "MelPower",
    "ModulationFrontEnd",
    "OnnxEncoder",
    "Places",
    "SamplesFrontEnd",
    "load_front_end",
    "make_front_end",
    "unit_power",
]

STATISTICS_FILE = "statistics.npy"
SELECTED_FILE = "selected.npy"


def make_front_end(
    signal: SignalSettings,
    spectrum: Spectrum,
    statistics: Features | None = None,
    selected: Places | None = None,
) -> FrontEnd:
    """The front end of a configuration.

    Args:
        signal: waveform to mel power.
        spectrum: mel power to features.
        statistics: mean and deviation of every feature over training examples, float32
            [2, channels, bands, columns]; None leaves features as they are.
        selected: places of the features that the network reads, in flattened ones, int64
            [selected]; features are then [selected, 1, 1]. None for all.
    """
    if isinstance(spectrum, MelSpectrum):
        return MelFrontEnd(signal, spectrum, statistics, selected)
    if isinstance(spectrum, RawSamples):
        return SamplesFrontEnd(signal, spectrum, statistics, selected)
    if isinstance(spectrum, EmbeddingSpectrum):
        return EmbeddingFrontEnd(signal, spectrum, statistics, selected)
    return ModulationFrontEnd(signal, spectrum, statistics, selected)


def load_front_end(
    signal: SignalSettings, spectrum: Spectrum, folder: Path, *, selected: int | None
) -> FrontEnd:
    """The front end with what training found out, from ``statistics.npy`` and ``selected.npy``.

    Both are read with suspicion: they may come from a stranger, as a client's part does.

    Args:
        signal: waveform to mel power.
        spectrum: mel power to features.
        folder: holds the two files.
        selected: how many features the network reads; None, or as many as there are, for all of
            them: then ``selected.npy`` is not read.

    Raises:
        ArrayFileError: a file is missing, or is not what these settings ask for.
    """
    plain = make_front_end(signal, spectrum)
    path = folder / STATISTICS_FILE
    statistics = read_array(path, plain.statistics_shape, np.float32)
    if not (np.isfinite(statistics).all() and (statistics[1] > 0).all()):
        raise ArrayFileError(f"{path}: expected finite means and positive deviations.")
    values = int(np.prod(plain.full_shape))
    places: Places | None = None
    if selected is not None and selected < values:
        path = folder / SELECTED_FILE
        places = read_array(path, (selected,), np.int64)
        if places[0] < 0 or places[-1] >= values or (np.diff(places) <= 0).any():
            raise ArrayFileError(f"{path}: expected rising places from 0 to {values - 1}.")
    return make_front_end(signal, spectrum, statistics, places)
