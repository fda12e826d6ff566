"""Measures of identification and of rejection, from logits and labels.

The last class is "unknown". *Closed* measures look at known songs and known classes alone; all
others let the verdict "unknown" compete.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

from ..model.decision import Decision


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the label is among the `k` largest logits: [clips, classes], [clips] -> [clips]."""
    k = min(k, logits.shape[1])
    best = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    return (best == labels[:, None]).any(1)


def detection_and_identification(
    right: np.ndarray, score: np.ndarray, unknown: np.ndarray, false_alarms: float
) -> float:
    """DIR: share of known clips that are identified and accepted, at a false alarm rate.

    The threshold is the lowest that lets at most `false_alarms` of these unknown clips through
    (Phillips, Grother & Micheals, "Evaluation methods in face recognition", 2011).

    Args:
        right: whether the best song is the right one, bool [clips].
        score: from unknown to known, float [clips].
        unknown: whether the clip is of an unknown song, bool [clips].
        false_alarms: between 0 and 1.
    """
    alarms = np.sort(score[unknown])[::-1]
    threshold = alarms[min(int(false_alarms * len(alarms)), len(alarms) - 1)]
    return float((right & (score > threshold))[~unknown].mean())


def summary(logits: np.ndarray, labels: np.ndarray, snr_db: np.ndarray, decision: Decision) -> dict:
    """All measures of one network on one set of clips.

    Args:
        logits: float [clips, classes].
        labels: int [clips]; the last class is "unknown".
        snr_db: float [clips].
        decision: the calibrated verdict.

    Returns:
        Shares between 0 and 1, by name.
    """
    unknown = labels == logits.shape[1] - 1
    score, answers = decision.score(logits), decision.classes(logits)
    accepted = answers != logits.shape[1] - 1
    first, third = (top_k(logits[:, :-1], labels, k) for k in (1, 3))
    known = ~unknown
    return {
        "clips_known": int(known.sum()),
        "clips_unknown": int(unknown.sum()),
        "top1": float((first & accepted)[known].mean()),
        "top3": float((third & accepted)[known].mean()),
        "top1_closed": float(first[known].mean()),
        "top3_closed": float(third[known].mean()),
        "top1_closed_by_snr_db": {
            f"{snr:g}": float(first[known & (snr_db == snr)].mean())
            for snr in sorted(set(snr_db.tolist()))
        },
        "known_lost_as_unknown": float((~accepted)[known].mean()),
        "unknown_rejected": float((~accepted)[unknown].mean()),
        "auroc": float(roc_auc_score(known, score)),
        "dir_at_1_percent": detection_and_identification(first, score, unknown, 0.01),
        "dir_at_5_percent": detection_and_identification(first, score, unknown, 0.05),
    }
