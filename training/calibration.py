"""Calibrating the open-set decision on songs that training never saw.

Clips of unknown tracks and of known songs, made as test clips are but with sounds of the training
side, set the weights of `hushtune.model.decision`. A third of the unknown tracks do not teach a
network with hidden layers but calibrate it. One without them is fitted in closed form, so that all
tracks can do both by cross-fitting (Chernozhukov et al. 2018): each clip is judged by weights that
were fitted without its track's part. Two things are shared all the same: the choice of values that
the network reads, and the quantization, whose error on a clip is added to the logits of the fit
that did not know the track. With 3 or 4 bits that error is smaller on tracks that taught than on
strangers, and more of these pass than the threshold was set for (docs/reference/FRONTIER.md).
"""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ..model.decision import Decision, logit_features, threshold_of
from ..model.network import network_logits
from ..support.arrays import Array
from ..support.errors import RunError
from .data.clips import clip_images, list_calibration_clips
from .run import Run, RunFile

PARTS = 5
"""Into so many the unknown tracks are cut for cross-fitting."""
NETWORKS = ("float", "quantized")


def cross_fitted(images: Tensor, places: Array, weights: Tensor) -> Array:
    """Logits of the networks without hidden layers that each clip's track did not teach.

    Args:
        images: float [clips, channels, bands, columns].
        places: of each clip's network: int [clips].
        weights: float [networks, classes, inputs].

    Returns:
        float64 [clips, classes].
    """
    result = np.empty((len(images), weights.shape[1]))
    for place, network in enumerate(weights):
        rows = np.flatnonzero(places == place)
        result[rows] = (images[rows].flatten(1) @ network.T).double().numpy()
    return result


def calibration_logits(run: Run) -> tuple[Array, dict[str, Array]]:
    """What a trained run's networks say of clips such as the decision will be asked about.

    Returns:
        labels int [clips], and the logits of ``float`` and ``quantized``, float [clips, classes].

    Raises:
        RunError: the run was begun by a version that left out what this needs.
    """
    config, split = run.config, run.split()
    linear = not config.network.layers
    clips = list_calibration_clips(
        config, split, split.known_unknowns if linear else split.calibrating
    )
    images = clip_images(
        clips,
        config,
        run.front_end(),
        title="Rendering calibration clips",
        validating=True,
        workers=config.training.workers,
        cache=run.cache,
    ).images
    labels = np.array([clip.label for clip in clips])
    logits = {
        phase: network_logits(run.network(quantized=phase == "quantized"), images)
        for phase in NETWORKS
    }
    if linear:
        if not run.has(RunFile.WITHOUT):
            raise RunError(
                f"{run.folder}: its training was begun by another version. Delete the folder and "
                "train again."
            )
        # the twin that the clip's track did not teach, then what quantization does to the clip
        part = dict(zip(split.known_unknowns, split.parts(PARTS), strict=True))
        unknown = np.flatnonzero(labels == split.unknown_class)
        parts = np.array([part[clips[place].track] for place in unknown])
        without = torch.from_numpy(np.load(run.path(RunFile.WITHOUT)))
        shift = cross_fitted(images[unknown], parts, without) - logits["float"][unknown]
        for phase in NETWORKS:
            logits[phase][unknown] += shift
    return labels, logits


def calibrate(logits: Array, labels: Array, false_alarms: float) -> Decision:
    """Fit the open-set decision of a trained network.

    Args:
        logits: of calibration clips, float [clips, classes].
        labels: int [clips]; the last class is "unknown".
        false_alarms: share of unknown clips that may be taken for a known song.

    Returns:
        The decision's parameters.
    """
    known = labels < logits.shape[1] - 1
    fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=1000)
    fitted.fit(logit_features(logits), known)
    weights = tuple(float(weight) for weight in fitted.coef_[0])
    score = logit_features(logits) @ np.asarray(weights)
    threshold = threshold_of(score[~known], false_alarms)
    return Decision(weights, -threshold, _temperature(logits[known], labels[known]))


def _temperature(logits: Array, labels: Array) -> float:
    """The temperature under which the songs' probabilities fit best."""

    def loss(log_temperature: float) -> float:
        scores = np.asarray(log_softmax(logits[:, :-1] / np.exp(log_temperature), axis=1))
        return -float(np.mean(scores[np.arange(len(labels)), labels]))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    return float(np.exp(best.x))
