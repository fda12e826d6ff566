"""Calibrating the open-set decision on songs that a network did not know.

Clips of unknown tracks and of known songs, made as test clips are but with sounds of the training
side, set the weights of `hushtune.model.decision`. A third of the known unknowns do not teach a
network with hidden layers but calibrate it. One without them is fitted in closed form, so that
every song can be left out in turn (`hushtune.training.linear.fit`).
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from ..model.decision import Decision, Decisions, score_features, threshold_of
from ..model.network import song_scores
from ..support.arrays import Array
from .data.clips import clip_images, list_calibration_clips
from .run import Judged, Run, RunFile

NETWORKS = ("float", "quantized")


def calibration_scores(run: Run) -> tuple[Judged, dict[str, Array]]:
    """What a run's networks with hidden layers say of clips such as they will be asked about.

    Returns:
        The clips; the scores of ``float`` and ``quantized``, float [clips, songs + 1].
    """
    config, split = run.config, run.split()
    clips = list_calibration_clips(config, split, split.calibrating)
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
    seconds = np.full(len(clips), config.signal.crop_seconds)
    return Judged(labels, seconds), {
        phase: song_scores(run.network(quantized=phase == "quantized"), run.rows(), images)
        for phase in NETWORKS
    }


def write_decisions(run: Run) -> None:
    """Calibrate the open-set decisions of both networks: with that, a run is trained."""
    decisions = {}
    for phase in NETWORKS:
        judged, scores = run.calibration(quantized=phase == "quantized")
        decisions[phase] = calibrate_lengths(
            scores, judged.labels, judged.seconds, run.config.training.false_alarm_rate
        ).to_json()
    run.write_json(RunFile.DECISION, decisions)


def calibrate_lengths(
    scores: Array, labels: Array, seconds: Array, false_alarms: float
) -> Decisions:
    """Fit the open-set decision for clips of each length.

    Args:
        scores: of calibration clips, float [clips, songs + 1]; NaN for songs that are left out.
        labels: int [clips]; the last class is "unknown".
        seconds: length of each clip, float [clips].
        false_alarms: share of unknown clips that may be taken for a known song.
    """
    lengths = np.unique(seconds).tolist()
    each = [seconds == length for length in lengths]
    return Decisions(
        tuple(lengths),
        tuple(calibrate(scores[mine], labels[mine], false_alarms) for mine in each),
    )


def calibrate(scores: Array, labels: Array, false_alarms: float) -> Decision:
    """Fit the open-set decision for clips of one length.

    Args:
        scores: of calibration clips, float [clips, songs + 1]; NaN for songs that are left out.
        labels: int [clips]; the last class is "unknown".
        false_alarms: share of unknown clips that may be taken for a known song.

    Returns:
        The decision's parameters.
    """
    known, features = labels < scores.shape[1] - 1, score_features(scores)
    fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=1000)
    fitted.fit(features, known)
    weights = tuple(float(weight) for weight in fitted.coef_[0])
    score = features @ np.asarray(weights)
    threshold = threshold_of(score[~known], false_alarms)
    return Decision(weights, -threshold, _temperature(scores[known], labels[known]))


def _temperature(scores: Array, labels: Array) -> float:
    """The temperature under which the songs' probabilities fit best."""

    def loss(log_temperature: float) -> float:
        likely = np.asarray(log_softmax(scores[:, :-1] / np.exp(log_temperature), axis=1))
        return -float(np.mean(likely[np.arange(len(labels)), labels]))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    return float(np.exp(best.x))
