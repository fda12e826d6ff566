"""Closed-set and open-set rates of a table of predictions.

A table has a row for each clip that one system judged, with the columns of
`hushtune.eval.predictions`.

- *Closed-set* rates (top-1, top-3) ask which enrolled song ranks first.
- *Open-set* rates also ask whether the clip was accepted as one of an enrolled song.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import auc, roc_auc_score

from ..model.decision import Decision
from .arrays import Bools, Floats, Ints

RANKED = 3
"""How many songs a system ranks."""


def hits(clips: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """Whether each clip counts for each rate; a rate is the mean of its hits.

    Returns:
        By the rate's name, over the clips that the rate is about:

        - ``top1``, ``top3``: known clips whose song ranks first, or among the first three;
        - ``correctly_identified``: known clips whose song ranks first and is accepted at the
          shipped threshold: the detection and identification rate (DIR) there;
        - ``falsely_rejected``: known clips rejected at the shipped threshold (FRR);
        - ``unknown_rejected``, ``unknown_accepted``: unknown clips at the shipped threshold; the
          latter are its false alarms;
        - ``dir_1``, ``dir_1_false_alarms``: the DIR at the threshold fixed for 1 % of false alarms,
          and the false alarms that it gave.
    """
    known, unknown = clips[clips["known"]], clips[~clips["known"]]
    return {
        "top1": known["correct"],
        "top3": known["in_top3"],
        "correctly_identified": known["correct"] & known["accepted"],
        "falsely_rejected": ~known["accepted"],
        "unknown_rejected": ~unknown["accepted"],
        "unknown_accepted": unknown["accepted"],
        "dir_1": known["correct"] & known["accepted_at_1_percent"],
        "dir_1_false_alarms": unknown["accepted_at_1_percent"],
    }


def rates(clips: pd.DataFrame) -> dict[str, float]:
    """Every rate of `hits`, between 0 and 1."""
    return {name: float(values.mean()) for name, values in hits(clips).items()}


def top1_by(clips: pd.DataFrame, column: str) -> dict[str, float]:
    """Top-1 of the known clips with each value of a column."""
    grouped = clips[clips["known"]].groupby(column)["correct"].mean()
    return {f"{value:g}": float(share) for value, share in grouped.items()}


def ranked(scores: Floats) -> Ints:
    """The songs with the largest scores, best first: [clips, songs + 1] -> int [clips, <= 3]."""
    return np.argsort(-scores[:, :-1], axis=1, kind="stable")[:, :RANKED]


def auroc(score: Floats, unknown: Bools) -> float:
    """Area under the receiver operating characteristic of known against unknown clips."""
    return float(roc_auc_score(~unknown, score))


def open_set_curve(correct: Bools, score: Floats, unknown: Bools) -> tuple[Floats, Floats]:
    """False alarm rate and detection and identification rate, at every threshold.

    Args:
        correct: whether the right song ranks first, bool [clips].
        score: from unknown to known, float [clips].
        unknown: whether the clip is of an unknown song, bool [clips].

    Returns:
        False alarm rate, and detection and identification rate (also called correct
        classification rate), both rising from 0, float [thresholds].
    """
    order = np.argsort(-score, kind="stable")
    alarms = np.cumsum(unknown[order]) / max(1, unknown.sum())
    identified = np.cumsum((correct & ~unknown)[order]) / max(1, (~unknown).sum())
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores pass together
    return np.append(0.0, alarms[last]), np.append(0.0, identified[last])


def oscr(correct: Bools, score: Floats, unknown: Bools) -> float:
    """Area under the open-set classification rate curve (Dhamija et al., NeurIPS 2018)."""
    return float(auc(*open_set_curve(correct, score, unknown)))


def dir_at(correct: Bools, score: Floats, unknown: Bools, false_alarms: Floats) -> Floats:
    """Detection and identification rate where these very clips give a rate of false alarms.

    Each threshold is the lowest that accepts at most that share of these unknown clips (Phillips,
    Grother & Micheals, "Evaluation methods in face recognition", 2011). It is set on the test
    clips, so the result is optimistic.

    Args:
        correct, score, unknown: see `open_set_curve`.
        false_alarms: between 0 and 1, float [rates].
    """
    alarms, identified = open_set_curve(correct, score, unknown)
    places = np.searchsorted(alarms, false_alarms + 1e-12, side="right") - 1
    return np.asarray(identified[places])


def summary(
    scores: Floats, labels: Ints, snr_db: Floats, decision: Decision
) -> dict[str, float | int | dict[str, float] | None]:
    """The rates of one network on one set of clips.

    Args:
        scores: of songs, float [clips, classes]; the last class is "unknown".
        labels: int [clips].
        snr_db: float [clips].
        decision: the calibrated open-set decision.

    Returns:
        Rates between 0 and 1, and numbers of clips, by name. ``top1`` and ``top3`` count accepted
        clips only; the ``closed`` ones ignore the decision. Rates that need unknown clips are None
        where there are none.
    """
    unknown_class = scores.shape[1] - 1
    top, score = ranked(scores), decision.score(scores)
    accepted = decision.classes(scores) != unknown_class
    clips = pd.DataFrame(
        {
            "known": labels != unknown_class,
            "correct": top[:, 0] == labels,
            "in_top3": (top == labels[:, None]).any(1),
            "accepted": accepted,
            "accepted_at_1_percent": accepted,
            "snr_db": snr_db,
        }
    )
    known, unknown, share = clips[clips["known"]], ~clips["known"].to_numpy(), rates(clips)
    dir_1, dir_5 = dir_at(clips["correct"].to_numpy(), score, unknown, np.array([0.01, 0.05]))
    open_set = {
        "unknown_rejected": share["unknown_rejected"],
        "dir_at_1_percent": float(dir_1),
        "dir_at_5_percent": float(dir_5),
    }
    return {
        "clips_known": len(known),
        "clips_unknown": int(unknown.sum()),
        "top1": share["correctly_identified"],
        "top3": float((known["in_top3"] & known["accepted"]).mean()),
        "top1_closed": share["top1"],
        "top3_closed": share["top3"],
        "top1_closed_by_snr_db": top1_by(clips, "snr_db"),
        "falsely_rejected": share["falsely_rejected"],
        "auroc": auroc(score, unknown) if unknown.any() else None,
        **(open_set if unknown.any() else dict.fromkeys(open_set)),
    }
