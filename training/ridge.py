"""The network without hidden layers, fitted in closed form.

Ridge regression on one-hot labels (Hoerl & Kennard 1970; as a classifier, Rifkin et al. 2003): one
pass over the training images, one linear system, no step size. It weighs image values by the
inverse of their covariance, which takes off what noise and rooms add to all of them alike;
gradient descent on the cross-entropy comes nowhere near that within minutes (see
docs/explanation/network.md).
"""

from dataclasses import dataclass

import torch
from rich.progress import Progress, TaskID
from torch import Tensor

from ..support.progress import progress_bar
from .data.pool import ExamplePool

PART = 2048
RANKING_EXAMPLES = 40_000
"""So many images choose the values that are kept: all of them would take minutes more."""
LOGIT_SCALE = 20.0
"""Logits are this many times the regression's values, so that they spread like a network's."""


@dataclass(frozen=True)
class RidgeFit:
    """Weights that predict the classes' one-hot codes from the images.

    Attributes:
        selected: places of the inputs in a flattened image, rising, int [inputs].
        weights: float32 [classes, inputs].
        without: the same, fitted without the images of one part of the tracks that teach
            "unknown" each: float32 [parts, classes, inputs].
    """

    selected: Tensor
    weights: Tensor
    without: Tensor


def fit_ridge(
    pool: ExamplePool,
    classes: int,
    ridge: float,
    *,
    inputs: int | None = None,
    parts: list[int],
    title: str,
) -> RidgeFit:
    """Fit all images, and all but those of each part of the tracks that teach "unknown".

    Where only some of the image values are wanted, they are those that move the songs' logits most
    when all are fitted: the mean square of value times weight. Leaving out the others is more than
    a saving: they fit the noise of training.

    Args:
        pool: training images and labels.
        classes: known songs plus one.
        ridge: penalty on the weights, as a share of the mean power of an image value.
        inputs: how many image values are kept; None for all.
        parts: of the tracks that teach "unknown", each the number of its part.
        title: shown beside the progress bar.
    """
    images, labels = pool.images.flatten(1), pool.labels
    count, values = images.shape
    wanted = values if inputs is None else inputs
    pruned = wanted < values
    with progress_bar() as bar:
        task = bar.add_task(title, total=count + pruned * min(RANKING_EXAMPLES, count), note="")
        selected = torch.arange(values)
        if pruned:
            first = slice(0, RANKING_EXAMPLES)
            moments, sums, counts = _moments(images[first], labels[first], classes, bar, task)
            power = moments.diagonal().clone()
            whole = _solve(moments, sums, counts, ridge)
            moved = whole[:-1].square().sum(0) * power
            selected = moved.topk(wanted).indices.sort().values
            images = images[:, selected]
        moments, sums, counts = _moments(images, labels, classes, bar, task)
        without = []
        part_of = torch.tensor([-1, *parts])[pool.teachers + 1]
        for part in sorted(set(parts)):
            rows = torch.nonzero(part_of == part)[:, 0]
            left = images[rows].float()
            fewer = sums.index_add(0, labels[rows], left, alpha=-1)
            less = counts - torch.bincount(labels[rows], minlength=classes)
            without.append(_solve(moments - left.T @ left, fewer, less, ridge))
        weights = _solve(moments, sums, counts, ridge)
    return RidgeFit(selected, weights, torch.stack(without))


def _moments(
    images: Tensor, labels: Tensor, classes: int, bar: Progress, task: TaskID
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_solve` wants of images [count, values]: second moments, sums and numbers."""
    values = images.shape[1]
    moments, sums = torch.zeros((values, values)), torch.zeros((classes, values))
    for start in range(0, len(images), PART):
        part = images[start : start + PART].float()
        moments.addmm_(part.T, part)
        sums.index_add_(0, labels[start : start + PART], part)
        bar.advance(task, len(part))
    return moments, sums, torch.bincount(labels, minlength=classes).float()


def _solve(moments: Tensor, sums: Tensor, counts: Tensor, ridge: float) -> Tensor:
    """Weights of the ridge regression on one-hot codes less their means.

    Args:
        moments: images' second moments, float [inputs, inputs]; overwritten.
        sums: of the images of each class, float [classes, inputs].
        counts: images of each class, float [classes].
        ridge: penalty, as a share of the mean power of an image value.
    """
    share = counts / counts.sum()
    codes = sums - share[:, None] * sums.sum(0)
    moments.diagonal().add_(ridge * moments.diagonal().mean())
    weights = torch.cholesky_solve(codes.T, torch.linalg.cholesky(moments))
    return (LOGIT_SCALE * weights.T).contiguous()
