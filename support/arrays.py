"""Reading array files of strangers: no pickles, no surprise in shape, type or size."""

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import ArrayFileError

Array = NDArray[Any]
"""An array whose shape and type of values its docstring states."""

Number = TypeVar("Number", bound=np.generic)


def read_array(path: Path, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Read an ``.npy`` file that must hold an array of this shape and type and nothing else.

    Header and file size are checked before any value is read, so that a file cannot take more
    memory than the shape does.

    Args:
        path: the file.
        shape: of the array.
        dtype: of its values, in this machine's byte order.

    Raises:
        ArrayFileError: no such file, not an array file, or another shape, type or size.
    """
    try:
        with path.open("rb") as file:
            found, fortran, kind = _read_header(file)
            if (found, kind, fortran) != (shape, np.dtype(dtype), False):
                order = ", in Fortran's order" if fortran else ""
                raise ArrayFileError(
                    f"{path}: shape={found}, dtype={kind}{order}. "
                    f"Expected shape={shape}, dtype={np.dtype(dtype)}."
                )
            count = math.prod(shape)
            wanted = file.tell() + count * kind.itemsize
            size = os.fstat(file.fileno()).st_size
            if size != wanted:
                raise ArrayFileError(f"{path}: {size} bytes. Expected {wanted}.")
            return np.fromfile(file, dtype, count).reshape(shape)
    except OSError as error:
        raise ArrayFileError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ArrayFileError(f"{path}: not an array file ({_short(error)}).") from error


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran's order, type: of an ``.npy`` file, which then stands before its values."""
    untyped: Any = npy
    version = untyped.read_magic(file)
    if version == (1, 0):
        header = untyped.read_array_header_1_0(file)
    elif version == (2, 0):
        header = untyped.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version}")
    shape, fortran, kind = header
    # of one value or one dimension, both orders are the same
    return shape, bool(fortran) and len(shape) > 1, kind


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
