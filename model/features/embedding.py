"""The embedding of a trained encoder: ``kind: embedding``.

Features: the encoder's output, [values, 1, 1], see `hushtune.model.encoder`. It is computed by
onnxruntime from the graph and weights that come with Hushtune, so a client needs no torch.
"""

import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...configs.schema import EmbeddingSpectrum, SignalSettings
from ...support.errors import ConfigError
from .base import Features, Places, Shape
from .mel import PowerFrontEnd

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FOLDER = Path(__file__).parents[1] / "encoders"
"""Where the shipped encoders lie: a graph and weights each."""
INPUT = "power"


class OnnxEncoder:
    """A trained encoder, for inference on one core.

    Args:
        graph: the ``.onnx`` file; its weights lie beside it.
    """

    def __init__(self, graph: Path):
        self._session = _session(graph)
        (output,) = self._session.get_outputs()
        self.values = int(output.shape[1])
        """Values of an embedding."""
        told = self._session.get_modelmeta().custom_metadata_map
        self.signal: dict[str, float] = json.loads(told["signal"])
        """What mel power it reads: those settings of ``signal`` that shape it."""

    def __call__(self, power: Features) -> Features:
        """Embeddings of unit mean square: mel power, float32 [clips, bands, frames] ->
        [clips, values].
        """
        result: Features = self._session.run(None, {INPUT: np.ascontiguousarray(power)})[0]
        return result


@lru_cache(maxsize=8)
def _session(graph: Path) -> "InferenceSession":
    # imported when needed: clients of other front ends do without
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


class EmbeddingFrontEnd(PowerFrontEnd):
    """The embedding of a clip, as long as it is."""

    def __init__(
        self,
        signal: SignalSettings,
        spectrum: EmbeddingSpectrum,
        statistics: Features | None = None,
        selected: Places | None = None,
    ):
        super().__init__(signal, spectrum, statistics, selected)
        self._name = spectrum.encoder

    @cached_property
    def _encoder(self) -> OnnxEncoder:
        graph = FOLDER / f"{self._name}.onnx"
        if not graph.is_file():
            names = ", ".join(sorted(path.stem for path in FOLDER.glob("*.onnx")))
            raise ConfigError(f"spectrum.encoder={self._name}: expected one of {names}.")
        encoder = OnnxEncoder(graph)
        for name, value in encoder.signal.items():
            mine = getattr(self.signal, name)
            if mine != value:
                raise ConfigError(
                    f"signal.{name}={mine:g}: encoder {self._name} was trained with {value:g}."
                )
        return encoder

    @property
    def full_shape(self) -> Shape:
        """See `FrontEnd.full_shape`."""
        return self._encoder.values, 1, 1

    def query_features(self, wave: Features) -> Features:
        """See `FrontEnd.query_features`; all of a longer clip counts."""
        result: Features = self.features(self.analyse(wave)[None])[0]
        return result

    def _full_features(self, analysed: Features, lengths: Places) -> Features:
        result = np.empty((len(analysed), self._encoder.values), np.float32)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            result[rows] = self._encoder(analysed[rows, :, :length])
        return result[..., None, None]
