"""Writing files so that an interruption leaves the old one or the new one, never half."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which it replaces when the block ends without an error."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    yield partial
    partial.replace(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def save_tensors(path: Path, state: dict) -> None:
    """`torch.save`, atomically."""
    with replacing(path) as partial:
        torch.save(state, partial)


def save_array(path: Path, array: np.ndarray) -> None:
    """`numpy.save`, atomically."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def read_json_lines(path: Path) -> list[dict]:
    """The lines of a log of JSON objects; one cut off when a process was killed is passed over."""
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
