"""The folder of an encoder's training.

```
runs/encoder/
  config.yaml          every setting, defaults filled in
  tracks.json          what it learned from, what was held out, what could not be used
  metrics.jsonl        one line a log interval
  curve.png            loss and accuracy against steps
  checkpoint.pt        of a training that has not finished
  encoder.safetensors  the weights, float16; written last: with it, a run is trained
  encoder.onnx         the graph that reads them
```
"""

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from ...configs.loading import dump_config, load_encoder_config
from ...configs.schema.encoder import EncoderConfig
from ...support.errors import RunError
from ...support.files import write_atomically, write_json
from ..data.track import Track


class EncoderFile(str, Enum):
    """The files of an encoder's training."""

    CONFIG = "config.yaml"
    TRACKS = "tracks.json"
    METRICS = "metrics.jsonl"
    CURVE = "curve.png"
    CHECKPOINT = "checkpoint.pt"
    WEIGHTS = "encoder.safetensors"
    GRAPH = "encoder.onnx"


class EncoderRun:
    """Reads and writes the folder of one encoder's training."""

    def __init__(self, folder: Path, config: EncoderConfig):
        self.folder, self.config = folder, config

    @staticmethod
    def create(config: EncoderConfig) -> "EncoderRun":
        """The run of a configuration, new or to be resumed.

        Raises:
            RunError: the folder holds a run of another configuration.
        """
        folder = config.runs / config.name
        path = folder / EncoderFile.CONFIG.value
        if path.exists():
            earlier = load_encoder_config(path)
            shaping = set(EncoderConfig.model_fields) - {"runs", "name"}
            changed = [n for n in sorted(shaping) if getattr(earlier, n) != getattr(config, n)]
            if changed:
                raise RunError(
                    f"{folder}: made from another configuration ({', '.join(changed)} differ). "
                    "Give this one another name, or delete that folder."
                )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dump_config(config).encode())
        return EncoderRun(folder, config)

    @staticmethod
    def open(folder: str | Path) -> "EncoderRun":
        """An existing run.

        Raises:
            RunError: no encoder was trained there.
        """
        path = Path(folder) / EncoderFile.CONFIG.value
        if not path.is_file():
            raise RunError(
                f"{folder}: no encoder's training lies here ({path.name} is missing). "
                "Make one with 'hushtune encoder train CONFIG'."
            )
        return EncoderRun(Path(folder), load_encoder_config(path))

    @property
    def cache(self) -> Path:
        """Cache shared by the runs beside this one."""
        return self.config.runs / ".cache"

    @property
    def trained(self) -> bool:
        """Whether the training has finished."""
        return self.path(EncoderFile.WEIGHTS).is_file()

    def path(self, name: EncoderFile) -> Path:
        """A file of this run."""
        return self.folder / name.value

    def held_out(self) -> list[Track]:
        """The tracks that training did not hear, to judge with."""
        return self._tracks("held_out")

    def learned(self) -> list[Track]:
        """The tracks that training heard."""
        return self._tracks("learned")

    def _tracks(self, key: str) -> list[Track]:
        path = self.path(EncoderFile.TRACKS)
        if not path.is_file():
            raise RunError(f"{self.folder}: training has not got far enough (no {path.name}).")
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return [Track.from_json(track) for track in told[key]]

    def write_tracks(self, learned: list[Track], held: list[Track]) -> None:
        """Write down what is learned from."""
        told = {
            "learned": [track.to_json() for track in learned],
            "held_out": [track.to_json() for track in held],
        }
        write_json(self.path(EncoderFile.TRACKS), told)


Announce = Callable[[str], None]
