"""A run's folder: the resolved config, the split, checkpoints, metrics, all that others read.

```
runs/demo/
  config.yaml          every setting, defaults filled in
  catalogue.json       tracks that could not be used, and why
  split.json           enrolled tracks, known unknowns, unknown songs to test with
  rows.json            rows of the head for each enrolled track, where there are several
  enrolment.json       files of the tracks, and the parts they are left out in
  sums.npz             what their crops sum up to, without hidden layers
  statistics.npy       mean and deviation of every feature
  selected.npy         places of the features that the network reads, where not all
  metrics.jsonl        one line a log interval
  curve.png            the learning curve
  float.pt, quantized.pt
  checkpoint.pt        of a training that has not finished
  calibration.npz      the clips that set the open-set decision: labels, lengths, scores
  decision.json        when to answer "unknown"; written last: with it, a run is trained
  opened.json          every file that was opened to make what training saw
  result.json          accuracy on test clips
```
"""

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from ..configs.loading import dump_config, load_config
from ..configs.schema import Config, FheSettings, RawSamples
from ..model.decision import Decision, Decisions
from ..model.features import FrontEnd, load_front_end
from ..model.network import Network
from ..model.rows import Rows
from ..support.arrays import Array
from ..support.errors import RunError
from ..support.files import replacing, write_atomically, write_json
from .data.split import Split


class RunFile(str, Enum):
    """The files of a run."""

    CONFIG = "config.yaml"
    CATALOGUE = "catalogue.json"
    SPLIT = "split.json"
    ROWS = "rows.json"
    ENROLMENT = "enrolment.json"
    SUMS = "sums.npz"
    STATISTICS = "statistics.npy"
    SELECTED = "selected.npy"
    METRICS = "metrics.jsonl"
    CURVE = "curve.png"
    FLOAT = "float.pt"
    QUANTIZED = "quantized.pt"
    CHECKPOINT = "checkpoint.pt"
    CALIBRATION = "calibration.npz"
    DECISION = "decision.json"
    OPENED = "opened.json"
    RESULT = "result.json"

    @staticmethod
    def weights(*, quantized: bool) -> "RunFile":
        """The weights of the network or of its floating-point twin."""
        return RunFile.QUANTIZED if quantized else RunFile.FLOAT


@dataclass(frozen=True)
class Judged:
    """Clips that calibrate the open-set decision.

    Attributes:
        labels: of each, int [clips]; the class after the last song is "unknown".
        seconds: its length, float [clips].
    """

    labels: Array
    seconds: Array


class Run:
    """Reads and writes one run's folder."""

    def __init__(self, folder: Path, config: Config):
        self.folder = folder
        self.config = config

    @staticmethod
    def create(config: Config, folder: Path | None = None) -> "Run":
        """The run of a configuration, new or to be resumed.

        Args:
            config: all settings.
            folder: where it lies; ``<runs>/<name>`` where None.

        Raises:
            RunError: the folder holds a run of another configuration.
        """
        folder = folder or config.runs / config.name
        path = folder / "config.yaml"
        if path.exists() and (folder / "split.json").exists():
            earlier = load_config(path)
            names = sorted(Config.model_fields)
            before, now = (_what_shapes_a_run(c) for c in (earlier, config))
            changed = [name for name in names if getattr(before, name) != getattr(now, name)]
            if changed:
                raise RunError(
                    f"{folder}: made from another configuration ({', '.join(changed)} differ). "
                    "Give this one another name, or delete that folder."
                )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dump_config(config).encode())
        return Run(folder, config)

    @staticmethod
    def open(folder: str | Path) -> "Run":
        """An existing run.

        Raises:
            RunError: no run lies there.
        """
        folder = Path(folder)
        if not (folder / "config.yaml").is_file():
            there = sorted(p.parent.name for p in folder.parent.glob("*/config.yaml"))
            hint = f" Runs beside it: {', '.join(there)}." if there else ""
            raise RunError(
                f"{folder}: no run lies here (config.yaml is missing).{hint} "
                "Make one with 'hushtune train CONFIG'."
            )
        return Run(folder, run_config(folder))

    @property
    def cache(self) -> Path:
        """Cache shared by the runs beside this one."""
        return self.config.runs / ".cache"

    @property
    def trained(self) -> bool:
        """Whether training and calibration have finished."""
        return self.has(RunFile.DECISION)

    def path(self, name: RunFile | str) -> Path:
        """A file of this run, or of what others keep beside it."""
        return self.folder / (name.value if isinstance(name, RunFile) else name)

    def has(self, name: RunFile | str) -> bool:
        """Whether a file of this run was written."""
        return self.path(name).is_file()

    def split(self) -> Split:
        """The run's split."""
        return Split.load(self.path(RunFile.SPLIT))

    def rows(self) -> Rows:
        """The rows of the head that every enrolled track has."""
        if not self.has(RunFile.ROWS):
            return Rows.one_each(len(self.split().known))
        told = self.read_json(RunFile.ROWS)
        return Rows(tuple(told["counts"]), told["seconds"])

    def front_end(self) -> FrontEnd:
        """The front end with this run's statistics and selected features.

        Raises:
            RunError: training has not got so far.
            ArrayFileError: a file of it is damaged.
        """
        name = RunFile.STATISTICS.value
        if not self.has(RunFile.STATISTICS):
            raise RunError(f"{self.folder}: training has not got far enough (no {name}).")
        # before the fit selects features, all of them are read
        fitted = self.has(RunFile.SELECTED)
        selected = self.config.network.inputs if fitted else None
        return load_front_end(
            self.config.signal, self.config.spectrum, self.folder, selected=selected
        )

    def new_network(self, *, quantized: bool) -> Network:
        """An untrained network of the run's shape."""
        classes = self.rows().total + 1
        shape, spectrum = self.front_end().feature_shape, self.config.spectrum
        network = Network(self.config.network, shape, classes, quantized=quantized)
        if isinstance(spectrum, RawSamples):
            network.start_filters(spectrum.rate_hz)
        return network

    def network(self, *, quantized: bool) -> Network:
        """The trained network (or its floating-point twin), ready to use.

        Raises:
            RunError: training has not finished.
        """
        path = self.path(RunFile.weights(quantized=quantized))
        if not path.is_file():
            raise RunError(
                f"{self.folder}: training has not finished (no {path.name}). "
                f"Go on with 'hushtune train {self.folder}'."
            )
        network = self.new_network(quantized=quantized)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return network.eval()

    def decisions(self, *, quantized: bool) -> Decisions:
        """The calibrated open-set decisions of the network or of its floating-point twin."""
        decisions = self.read_json(RunFile.DECISION)
        return Decisions.from_json(decisions["quantized" if quantized else "float"])

    def decision(self, *, quantized: bool) -> Decision:
        """The open-set decision for clips as long as a crop."""
        return self.decisions(quantized=quantized).at(self.config.signal.crop_seconds)

    def write_calibration(self, judged: "Judged", scores: dict[str, Array]) -> None:
        """Keep what the open-set decisions were calibrated on.

        Args:
            judged: the calibration clips.
            scores: of the networks ``float`` and ``quantized``, float [clips, songs + 1].
        """
        told = {"labels": judged.labels, "seconds": judged.seconds}
        with replacing(self.path(RunFile.CALIBRATION)) as partial, partial.open("wb") as file:
            np.savez(file, **told, **scores)

    def calibration(self, *, quantized: bool) -> "tuple[Judged, Array]":
        """The clips that a network's decision was calibrated on, and their scores.

        Raises:
            RunError: missing or damaged.
        """
        try:
            with np.load(self.path(RunFile.CALIBRATION)) as file:
                judged = Judged(file["labels"], file["seconds"])
                return judged, file["quantized" if quantized else "float"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(f"{self.path('calibration.npz')}: cannot be read ({error}).") from error

    def write_json(self, name: RunFile | str, data: object) -> None:
        """Write a JSON file of this run."""
        write_json(self.path(name), data)

    def read_json(self, name: RunFile | str) -> dict[str, Any]:
        """Read a JSON file of this run.

        Raises:
            RunError: missing or damaged.
        """
        try:
            data: dict[str, Any] = json.loads(self.path(name).read_text("utf-8"))
            return data
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path(name)}: cannot be read ({error}).") from error


def run_config(folder: Path) -> Config:
    """The configuration of the run in `folder`, wherever that was moved to."""
    config = load_config(folder / "config.yaml")
    folder = folder.resolve()
    return config.model_copy(update={"runs": folder.parent, "name": folder.name})


def _what_shapes_a_run(config: Config) -> Config:
    """The configuration without what may change between training and compiling."""
    training = config.training.model_copy(update={"workers": 0})
    same = {"fhe": FheSettings(), "name": "run", "runs": Path(), "training": training}
    return config.model_copy(update=same)
