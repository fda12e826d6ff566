"""Sums over the crops of all tracks: what the fit needs to know of them, and exactly so.

Features are small integers, so that their products are integers, too, and sums of them come out the
same in whatever order, on however many machines: a track that is added or taken away leaves what a
training anew would give.
"""

import numpy as np
import torch

from ...support.arrays import Array

EXACT = 1 << 24
"""Floats of 32 bits hold integers up to this."""


def products(crops: Array) -> Array:
    """Sums of the products of every two inputs: int8 [crops, inputs] -> float64 [inputs, inputs].

    Exact: blocks are so small that floats of 32 bits hold every sum.
    """
    largest = max(int(np.abs(crops.astype(np.int16)).max(initial=1)), 1)
    block = max(1, EXACT // largest**2)
    total = np.zeros((crops.shape[1],) * 2)
    for start in range(0, len(crops), block):
        part = torch.from_numpy(crops[start : start + block]).float()
        total += (part.T @ part).numpy()
    return total


def row_sums(crops: Array, rows: Array, count: int) -> tuple[Array, Array]:
    """Sums and numbers of the crops of each of `count` rows: float32 [rows, inputs], int [rows]."""
    sums = torch.zeros((count, crops.shape[1]))
    sums.index_add_(0, torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(crops).float())
    return sums.numpy(), np.bincount(rows, minlength=count)
