"""A run's folder: the resolved config, the split, checkpoints, metrics, all that others read.

```
runs/demo/
  config.yaml          every setting, defaults filled in
  catalogue.json       tracks that could not be used, and why
  split.json           known, unknown for training, unknown for testing
  statistics.npy       mean and deviation of the images
  selected.npy             places of the image values that the network reads, where not all
  metrics.jsonl        one line a log interval
  curve.png            the learning curve
  float.pt, quantized.pt
  calibration.npz      labels and logits of the clips that set the verdict
  decision.json        when to answer "unknown"
  opened.json          every file that was opened to make what training saw
  result.json          accuracy on test clips
```
"""

import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from ..configs.loading import dump_config, load_config
from ..configs.schema import Config, FheSettings, RawSamples
from ..model.decision import Decision
from ..model.features import FrontEnd, load_front_end
from ..model.network import Network
from ..support.errors import RunError
from ..support.files import replacing, write_atomically
from .data.split import Split


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

    def path(self, name: str) -> Path:
        """A file of this run."""
        return self.folder / name

    def split(self) -> Split:
        """The run's split."""
        return Split.load(self.path("split.json"))

    def front_end(self) -> FrontEnd:
        """The front end with this run's image statistics and choice of values."""
        path = self.path("statistics.npy")
        if not path.is_file():
            raise RunError(f"{self.folder}: training has not got far enough (no {path.name}).")
        # before the fit selects features, all of them are read
        fitted = self.path("selected.npy").is_file()
        selected = self.config.network.inputs if fitted else None
        return load_front_end(
            self.config.signal, self.config.spectrum, self.folder, selected=selected
        )

    def new_network(self, *, quantized: bool) -> Network:
        """An untrained network of the run's shape."""
        classes = len(self.split().known) + 1
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
        path = self.path("quantized.pt" if quantized else "float.pt")
        if not path.is_file():
            raise RunError(
                f"{self.folder}: training has not finished (no {path.name}). "
                f"Go on with 'hushtune train {self.folder}'."
            )
        network = self.new_network(quantized=quantized)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return network.eval()

    def decision(self, *, quantized: bool) -> Decision:
        """The calibrated verdict of the network or of its floating-point twin."""
        decisions = self.read_json("decision.json")
        return Decision.from_json(decisions["quantized" if quantized else "float"])

    def write_calibration(self, labels: np.ndarray, logits: dict[str, np.ndarray]) -> None:
        """Keep what the verdicts were calibrated on.

        Args:
            labels: of the calibration clips, int [clips]; the last class is "unknown".
            logits: of the networks ``float`` and ``quantized``, float [clips, classes].
        """
        with replacing(self.path("calibration.npz")) as partial, partial.open("wb") as file:
            np.savez(file, labels=labels, **logits)

    def calibration(self, *, quantized: bool) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits that a network's verdict was calibrated on, as they were written.

        Raises:
            RunError: missing or damaged.
        """
        try:
            with np.load(self.path("calibration.npz")) as file:
                return file["labels"], file["quantized" if quantized else "float"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise RunError(f"{self.path('calibration.npz')}: cannot be read ({error}).") from error

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file of this run."""
        text = json.dumps(data, indent=1, ensure_ascii=False)
        write_atomically(self.path(name), (text + "\n").encode())

    def read_json(self, name: str) -> dict:
        """Read a JSON file of this run.

        Raises:
            RunError: missing or damaged.
        """
        try:
            return json.loads(self.path(name).read_text("utf-8"))
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
