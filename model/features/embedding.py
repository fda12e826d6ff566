"""The embedding of a trained encoder: ``kind: embedding``.

Features: the mean of the encoder's outputs for crops all over the clip, [values, 1, 1], see
`hushtune.model.encoder`. They are computed by onnxruntime from the graph and weights that come with
Hushtune, so a client needs no torch.
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
"""Where the shipped encoders lie, each in a folder of its own."""
GRAPH = "encoder.onnx"
INPUT = "power"
AT_ONCE = 64
"""Crops that are embedded together."""


class OnnxEncoder:
    """A trained encoder, for inference on one core.

    Args:
        graph: the ``.onnx`` file; its weights lie beside it.
    """

    def __init__(self, graph: Path):
        self._session = _session(graph)
        (output,), (given,) = self._session.get_outputs(), self._session.get_inputs()
        self.values = int(output.shape[1])
        """Values of an embedding."""
        self.frames = int(given.shape[2])
        """Frames of a crop."""
        told = self._session.get_modelmeta().custom_metadata_map
        self.signal: dict[str, float] = json.loads(told["signal"])
        """What mel power it reads: those settings of ``signal`` that shape it."""

    def __call__(self, crops: Features) -> Features:
        """Embeddings of unit mean square: mel power, float32 [crops, bands, frames] ->
        [crops, values].
        """
        parts = [
            self._session.run(None, {INPUT: np.ascontiguousarray(crops[start : start + AT_ONCE])})
            for start in range(0, len(crops), AT_ONCE)
        ]
        return np.concatenate([embedded for (embedded,) in parts])

    def crops(self, power: Features, step: int) -> Features:
        """Crops all over a clip: mel power, float32 [bands, frames] -> [crops, bands, frames].

        The last one ends where the clip does. A clip shorter than a crop is repeated.

        Args:
            power: of the clip.
            step: frames from one crop to the next.
        """
        have = power.shape[1]
        if have < self.frames:
            return np.pad(power, ((0, 0), (0, self.frames - have)), mode="wrap")[None]
        starts = np.arange(0, have - self.frames + 1, step)
        if starts[-1] + self.frames < have:
            starts = np.append(starts, have - self.frames)
        return np.stack([power[:, start : start + self.frames] for start in starts.tolist()])


def pooled(embeddings: Features) -> Features:
    """The mean of crops' embeddings, at unit mean square: [crops, values] -> [values]."""
    mean = embeddings.mean(0)
    return np.asarray(mean / np.sqrt(np.square(mean).mean() + 1e-12), np.float32)


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
        hop_seconds = signal.hop_ms / 1000
        self._step = max(1, round(spectrum.step_seconds / hop_seconds))

    @cached_property
    def _encoder(self) -> OnnxEncoder:
        graph = FOLDER / self._name / GRAPH
        if not graph.is_file():
            names = ", ".join(sorted(path.parent.name for path in FOLDER.glob(f"*/{GRAPH}")))
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
        encoder = self._encoder
        crops = [
            encoder.crops(power[:, :length], self._step)
            for power, length in zip(analysed, lengths.tolist(), strict=True)
        ]
        embedded = encoder(np.concatenate(crops))
        ends = np.cumsum([len(some) for some in crops])[:-1]
        return np.stack([pooled(some) for some in np.split(embedded, ends)])[..., None, None]
