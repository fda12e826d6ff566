"""Answers under real FHE, kept clip by clip: an interruption loses one of them, not hours."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import read_json_lines


@dataclass(frozen=True)
class Journal:
    """A file with a line for each clip that a circuit has answered.

    Attributes:
        path: of the file; need not exist.
        circuit: digest of all that decides the answers; lines of other circuits are passed over.
    """

    path: Path
    circuit: str

    def read(self) -> dict[str, dict]:
        """What is on file, by `digest_of` the image; a line cut off by a crash is passed over."""
        lines = read_json_lines(self.path) if self.path.exists() else []
        return {line["image"]: line for line in lines if line["circuit"] == self.circuit}

    def add(self, image: np.ndarray, line: dict) -> None:
        """Append what the circuit gave for an image, JSON-ready."""
        whole = {"circuit": self.circuit, "image": digest_of(image.tobytes()), **line}
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(whole))  # after whatever a crash has left


def digest_of(*parts: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()
