import io
import struct

import numpy as np
import pytest

from hushtune.support.arrays import read_array
from hushtune.support.errors import ArrayFileError


def npy(array, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_was_written_comes_back(tmp_path, version):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(VALUES, version))
    assert np.array_equal(read_array(path, (2, 3), np.float32), VALUES)


def claiming(shape):
    """A header that promises `shape`, and six values."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + VALUES.tobytes()
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an array file"),
        (b"PK\x03\x04" + bytes(50), "not an array file"),
        (npy(VALUES, (3, 0)), "version"),
        (npy(VALUES)[:-1], "bytes. Expected"),
        (npy(VALUES) + b"\0", "bytes. Expected"),
        (npy(VALUES.T), "Fortran"),
        (npy(VALUES.ravel()), "shape=\\(6,\\)"),
        (npy(VALUES.astype(np.float64)), "dtype=float64"),
        (npy(VALUES.astype(">f4")), "dtype=>f4"),
        (claiming((2**40, 2**20)), "Expected shape"),
        (claiming((-2, -3)), "Expected shape"),
        (claiming("__import__('os').getpid()"), "not an array file"),
        (npy(VALUES)[:40], "not an array file"),
    ],
)
def test_anything_else_is_refused(tmp_path, data, message):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(ArrayFileError, match=message):
        read_array(path, (2, 3), np.float32)


def test_a_file_shorter_than_its_shape_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(claiming((2**40, 2**10)))
    with pytest.raises(ArrayFileError, match="bytes. Expected"):
        read_array(path, (2**40, 2**10), np.float32)


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "a.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ArrayFileError):
        read_array(path, (1,), np.float32)
    with pytest.raises(ArrayFileError):
        read_array(path, (1,), np.object_)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArrayFileError, match="a.npy: cannot be read"):
        read_array(tmp_path / "a.npy", (1,), np.float32)
