"""Writing files so that an interruption leaves the old one or the new one, never half."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which it replaces when the block ends without an error.

    The temporary file is removed when the block fails.
    """
    partial = _partial(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def create_exclusively(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, whole or not at all, whoever else writes it.

    The temporary file is linked to its name, which fails where the name is taken, while a rename
    would replace what another process wrote there in the meantime.

    Args:
        path: of the file; its folder exists.
        data: to write.
        mode: permissions of the file.

    Raises:
        FileExistsError: the file exists; it is left as it is.
        OSError: it cannot be written; nothing is left behind.
    """
    partial = _partial(path)
    try:
        _write_new(partial, data, mode)
        try:
            os.link(partial, path)
        except FileExistsError:
            raise
        except OSError:  # this file system knows no hard links
            try:
                _write_new(path, data, mode)
            except FileExistsError:
                raise
            except OSError:
                path.unlink(missing_ok=True)  # this process made it
                raise
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """A name that no other writer has, thread or process."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that does not exist, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, data: object) -> None:
    """Write JSON that people can read.

    Names of files that are no UTF-8, which Python holds as halves of surrogate pairs, become
    escapes: `json.loads` gives them back.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """`numpy.save`, atomically."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log of JSON objects; one cut off when a process was killed is passed over."""
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
