"""Answers under real FHE, kept clip by clip: an interruption loses one of them, not hours."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    def read(self) -> dict[str, dict[str, Any]]:
        """What is on file, by `digest_of` the features; lines that a crash cut off are left out."""
        lines = read_json_lines(self.path) if self.path.exists() else []
        return {line["features"]: line for line in lines if line["circuit"] == self.circuit}

    def add(self, features: NDArray[np.float32], line: dict[str, Any]) -> None:
        """Append what the circuit gave for a clip's features, JSON-ready."""
        whole = {"circuit": self.circuit, "features": digest_of(features.tobytes()), **line}
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(whole))  # after whatever a crash has left


def digest_of(*parts: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()
