"""From logits to an answer: which song, how probable, or none of the catalogue.

The network's own "unknown" logit rejects songs that resemble no known one, but is unreliable in
noise. A better open-set decision takes four numbers of the logits, weighted by a logistic
regression on clips of songs that training never saw (Platt 1999): the best song's logit, its margin
over the second, the "unknown" logit, and the deviation over the songs' logits.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from ..support.arrays import Array


@dataclass(frozen=True)
class Decision:
    """The parameters of the open-set decision; they travel in the artifact.

    Attributes:
        weights: of the four features, see `logit_features`.
        intercept: shifted so that the chosen share of unknown clips has a probability above 0.5
            of being known.
        temperature: divides the songs' logits before their softmax (Guo et al. 2017).
    """

    weights: tuple[float, ...]
    intercept: float
    temperature: float

    def score(self, logits: Array) -> Array:
        """Log-odds that a clip is of a known song: [clips, classes] -> [clips]; accept from 0."""
        result: Array = logit_features(logits) @ np.asarray(self.weights) + self.intercept
        return result

    def probabilities(self, logits: Array) -> Array:
        """Probability of every song and, last, of "unknown": [clips, classes], rows sum to 1."""
        known = expit(self.score(logits))[:, None]
        songs = softmax(logits[:, :-1] / self.temperature, axis=1)
        return np.concatenate([known * songs, 1 - known], axis=1)

    def classes(self, logits: Array) -> Array:
        """The answers: the best song's class, or the last class for "unknown": int [clips]."""
        best = logits[:, :-1].argmax(1)
        return np.where(self.score(logits) >= 0, best, logits.shape[1] - 1)

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Decision":
        """The inverse of `to_json`."""
        return Decision(tuple(data["weights"]), data["intercept"], data["temperature"])


def threshold_of(unknown_scores: Array, false_alarms: float) -> float:
    """The rule of every threshold: the score that a share of unknown clips exceeds.

    Args:
        unknown_scores: from unknown to known, of clips of unknown songs, float [clips].
        false_alarms: the share, between 0 and 1.
    """
    return float(np.quantile(unknown_scores, 1 - false_alarms))


def logit_features(logits: Array) -> Array:
    """What the decision looks at.

    Args:
        logits: float [clips, songs + 1], "unknown" last.

    Returns:
        float [clips, 4]: best song, best less second, "unknown", deviation over the songs.
    """
    songs = logits[:, :-1]
    top = np.partition(songs, -2, axis=1)[:, -2:] if songs.shape[1] > 1 else np.repeat(songs, 2, 1)
    return np.stack([top[:, 1], top[:, 1] - top[:, 0], logits[:, -1], songs.std(1)], axis=1)
