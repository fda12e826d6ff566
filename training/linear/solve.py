"""The closed form: a matched filter for every row of the head.

A row's crops lie about their mean; what noise, rooms and the places within the row add to it is
alike for all rows, and has one covariance S. A row of weights is ``S^-1 m / sqrt(m' S^-1 m)`` with
its mean m relative to that of all crops: of all linear functions the one that tells crops of the
row from the mean of all music best (linear discriminant analysis, Fisher 1936), scaled so that what
is left of noise has the same deviation in every row. So the rows' logits can be compared, which
their maximum does. Gradient descent on the cross-entropy comes nowhere near that within minutes;
nor does ridge regression on the rows' codes (see docs/explanation/network.md).
"""

import numpy as np
import torch

from ...support.arrays import Array

ROWS_AT_ONCE = 4096
"""Bounds the memory that solving takes."""
PART = 2048


def discriminant_weights(
    products: Array, sums: Array, counts: Array, shrinkage: float, others: Array
) -> Array:
    """Weights of every row.

    Args:
        products: sums of the products of every two inputs over all crops, [inputs, inputs].
        sums: of the crops of each row, [rows, inputs].
        counts: crops of each row, [rows]; weights of a row without any are 0.
        shrinkage: of the covariance, see ``training.shrinkage``.
        others: means of crops of no row, [others, inputs], which get weights likewise.

    Returns:
        float32 [rows + others, inputs].
    """
    crops = counts.sum()
    centre = sums.sum(0, dtype=np.float64) / crops
    scatter = torch.from_numpy(products.astype(np.float64))
    present = np.flatnonzero(counts)
    for start in range(0, len(present), ROWS_AT_ONCE):
        some = present[start : start + ROWS_AT_ONCE]
        scaled = torch.from_numpy(sums[some] / np.sqrt(counts[some])[:, None]).double()
        scatter -= scaled.T @ scaled
    scatter /= crops
    scatter.diagonal().add_(shrinkage * scatter.diagonal().mean())
    factor = torch.linalg.cholesky(scatter)
    weights = np.empty((len(sums) + len(others), sums.shape[1]), np.float32)
    for start in range(0, len(sums), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        heard = counts[part] > 0
        means = sums[part] / np.maximum(counts[part], 1)[:, None] - centre * heard[:, None]
        weights[: len(sums)][part] = _filters(means, factor)
    weights[len(sums) :] = _filters(others - centre, factor)
    return weights


def _filters(means: Array, factor: torch.Tensor) -> Array:
    """Matched filters of means, given the covariance's Cholesky factor: [rows, inputs] each."""
    mean = torch.from_numpy(means)
    solved = torch.cholesky_solve(mean.T, factor).T
    power = (solved * mean).sum(1).clamp(min=1e-12).sqrt()
    result: Array = (solved / power[:, None]).numpy()
    return result


def telling_inputs(features: Array, rows: Array, wanted: int, ridge: float) -> Array:
    """The features that move the rows' logits most when all are fitted, rising: int [wanted].

    Fitted by ridge regression on the rows' one-hot codes, for which no row needs many crops; what
    counts is the mean square of value times weight. Leaving out the others is more than a saving:
    they fit the noise of training.

    Args:
        features: standardised, of crops, float [crops, features].
        rows: of each, int [crops]; -1 for negatives.
        wanted: how many.
        ridge: penalty on the weights, as a share of the mean power of a feature.
    """
    count = int(rows.max()) + 1
    values = features.shape[1]
    moments = torch.zeros((values, values))
    sums = torch.zeros((count + 1, values))
    for start in range(0, len(features), PART):
        part = torch.from_numpy(features[start : start + PART]).float()
        moments.addmm_(part.T, part)
        labels = torch.from_numpy(rows[start : start + PART].astype(np.int64)) % (count + 1)
        sums.index_add_(0, labels, part)
    counts = torch.from_numpy(np.bincount(rows % (count + 1), minlength=count + 1)).float()
    power = moments.diagonal().clone()
    codes = sums - (counts / counts.sum())[:, None] * sums.sum(0)
    moments.diagonal().add_(ridge * moments.diagonal().mean())
    weights = torch.cholesky_solve(codes[:-1].T, torch.linalg.cholesky(moments)).T
    moved = weights.square().sum(0) * power
    result: Array = moved.topk(wanted).indices.sort().values.numpy()
    return result
