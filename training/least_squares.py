"""The network without hidden layers, fitted in closed form.

Ridge regression on one-hot labels (Hoerl & Kennard 1970; as a classifier, Rifkin et al. 2003): one
pass over the training images, one linear system, no step size. It weighs image values by the
inverse of their covariance, which takes off what noise and rooms add to all of them alike;
gradient descent on the cross-entropy comes nowhere near that within minutes (see docs/DESIGN.md).
"""

import torch
from torch import Tensor

from .parallel import progress_bar
from .pool import ImagePool

PART = 2048
LOGIT_SCALE = 20.0
"""Logits are this many times the regression's values, so that they spread like a network's."""


def fit_least_squares(pool: ImagePool, classes: int, ridge: float, *, title: str) -> Tensor:
    """Weights that predict the classes' one-hot codes from the images.

    Args:
        pool: training images and labels.
        classes: known songs plus one.
        ridge: penalty on the weights, as a share of the mean power of an image value.
        title: shown beside the progress bar.

    Returns:
        float32 [classes, inputs], inputs in the order of a flattened image.
    """
    images, labels = pool.images.flatten(1), pool.labels
    count, inputs = images.shape
    moments = torch.zeros((inputs, inputs))
    sums = torch.zeros((classes, inputs))
    with progress_bar() as bar:
        task = bar.add_task(title, total=count, note="")
        for start in range(0, count, PART):
            part = images[start : start + PART].float()
            moments.addmm_(part.T, part)
            sums.index_add_(0, labels[start : start + PART], part)
            bar.advance(task, len(part))
        # one-hot codes less their means over all images
        share = torch.bincount(labels, minlength=classes) / count
        sums -= share[:, None] * sums.sum(0)
        penalty = ridge * moments.diagonal().mean()
        moments.diagonal().add_(penalty)
        weights = torch.cholesky_solve(sums.T, torch.linalg.cholesky(moments))
    return (LOGIT_SCALE * weights.T).contiguous()
