"""Calibrating the verdict "unknown" on songs that training never saw.

Clips of unknown tracks and of known songs, made as test clips are but with sounds of the training
side, set the weights of `hushtune.model.decision`. A third of the unknown tracks do not teach a
network with hidden layers but calibrate it. One without them is fitted in closed form, so that all
tracks can do both by cross-fitting (Chernozhukov et al. 2018): each clip is judged by weights that
were fitted without its track's part. Two things are shared all the same: the choice of values that
the network reads, and the quantization, whose error on a clip is added to the logits of the fit
that did not know the track. With 3 or 4 bits that error is smaller on tracks that taught than on
strangers, and more of these pass than the threshold was set for (docs/FRONTIER.md).
"""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ..model.decision import Decision, features
from ..model.network import Network

PARTS = 5
"""Into so many the unknown tracks are cut for cross-fitting."""


def network_logits(network: Network, images: Tensor) -> np.ndarray:
    """Logits of a network in its inference mode: float64 [clips, classes]."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in images.split(256)]).double().numpy()


def cross_fitted(images: Tensor, places: np.ndarray, weights: Tensor) -> np.ndarray:
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


def calibrate(logits: np.ndarray, labels: np.ndarray, false_alarms: float) -> Decision:
    """Fit the verdict of a trained network.

    Args:
        logits: of calibration clips, float [clips, classes].
        labels: int [clips]; the last class is "unknown".
        false_alarms: share of unknown clips that may be taken for a known song.

    Returns:
        The verdict's parameters.
    """
    known = labels < logits.shape[1] - 1
    fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=1000)
    fitted.fit(features(logits), known)
    weights = tuple(float(weight) for weight in fitted.coef_[0])
    score = features(logits) @ np.asarray(weights)
    threshold = np.quantile(score[~known], 1 - false_alarms)
    return Decision(weights, -float(threshold), _temperature(logits[known], labels[known]))


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the songs' probabilities fit best."""

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits[:, :-1] / np.exp(log_temperature), axis=1)
        return -scores[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
