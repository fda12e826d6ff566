"""From the files of tracks to a network without hidden layers, and its open-set decision.

The decision is calibrated by cross-fitting (Chernozhukov et al. 2018): songs are left out a fifth
at a time, and the others' rows judge their clips as those of unknown songs. So no song need be kept
out of the catalogue to learn what unknown ones look like. What is shared all the same is the choice
of features, and the quantization, whose error on a clip is added to the logits of the fit that did
not know the song.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch

from ...model.network import Network
from ...model.quantizers import input_scale
from ...model.rows import Rows
from ...support.arrays import Array
from ...support.files import write_atomically
from ..data.split import Split
from ..fitting import save_tensors
from ..run import Judged, Run, RunFile
from .crops import TrackCrops
from .duplicates import Recordings
from .sums import Sums

CLIPS_OF_WEIGHTS = np.geomspace(2.5, 14.0, 12)
"""Where weights may be clipped to be quantized, in their standard deviations."""
COMPARED_ROWS = 512
"""Rows that show where it is best."""
CLIPS_AT_ONCE = 256


def fit_linear(run: Run, files: Sequence[Path], parts: Mapping[str, int], totals: Sums) -> None:
    """Fit both networks of a run and calibrate their decisions.

    Args:
        run: with its split and front end.
        files: of every known track, then of every known unknown (`crops.CropMaker`).
        parts: that each of these tracks belongs to, by id.
        totals: what their crops sum up to.
    """
    started = time.monotonic()
    config, split = run.config, run.split()
    rows = totals.rows
    run.write_json(RunFile.ROWS, {"counts": rows.counts, "seconds": rows.seconds})
    weights = totals.weights(config.training.shrinkage)
    scale = input_scale(config.network.input_bits)
    twin = run.new_network(quantized=False).eval()
    with torch.no_grad():
        twin.head.weight.copy_(torch.from_numpy(weights / scale))
    network = run.new_network(quantized=True)
    network.load_from_float(twin)
    clip_weights(network, weights / scale, totals.products.sum(0))
    network.eval()
    save_tensors(run.path(RunFile.FLOAT), twin.state_dict())
    judged, scores = _cross_fitted(run, split, files, totals, parts, weights, (twin, network))
    run.write_calibration(judged, scores)
    known = judged.labels < len(split.known)
    longest = known & (judged.seconds == judged.seconds.max())
    lines = [
        {
            "phase": phase,
            "step": 1,
            "seconds": round(time.monotonic() - started, 2),
            "validation_top1_closed": float(
                (scores[phase][longest, :-1].argmax(1) == judged.labels[longest]).mean()
            ),
        }
        for phase in scores
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(run.path(RunFile.METRICS), text.encode())
    save_tensors(run.path(RunFile.QUANTIZED), network.state_dict())


def clip_weights(network: Network, weights: Array, squares: Array) -> None:
    """Clip the quantized network's weights where its logits then differ least from its twin's.

    Args:
        network: quantized; its scale is set.
        weights: of the twin, float32 [rows + 1, inputs].
        squares: sums of the products of every two inputs over all crops, [inputs, inputs].
    """
    head = network.head
    assert isinstance(head, qnn.QuantLinear)
    levels = 2 ** (network.settings.head_bits - 1) - 1
    some = weights[:: max(1, len(weights) // COMPARED_ROWS)]
    deviation = float(weights.std())
    errors = []
    for clip in CLIPS_OF_WEIGHTS:
        step = clip * deviation / levels
        off = (some / step).round().clip(-levels, levels) * step - some
        errors.append(float(np.einsum("ri,ri->", off @ squares.astype(np.float32), off)))
    scaling = head.weight_quant.tensor_quant.scaling_impl
    scaling.value.data.fill_(float(CLIPS_OF_WEIGHTS[int(np.argmin(errors))] * deviation))
    scaling.init_done = True


def _cross_fitted(
    run: Run,
    split: Split,
    files: Sequence[Path],
    totals: Sums,
    parts: Mapping[str, int],
    fitted_weights: Array,
    networks: tuple[Network, Network],
) -> tuple[Judged, dict[str, Array]]:
    """Clips of every song as known ones, and of every track as those of unknown songs.

    What is the same recording as the clip's track is left out with it; a known unknown that is the
    same as an enrolled song does not count.

    Returns:
        The clips; the scores of ``float`` and ``quantized``, float32 [clips, songs + 1].
    """
    scale = input_scale(run.config.network.input_bits)
    tracks, known = [*split.known, *split.known_unknowns], len(split.known)
    clips, labels, lengths, part, places = [], [], [], [], []
    alike: dict[int, set[int]] = {}
    recordings = Recordings(totals, fitted_weights)
    for one, other in recordings.pairs():
        alike.setdefault(one, set()).add(other)
        alike.setdefault(other, set()).add(one)
    for place, (track, path) in enumerate(zip(tracks, files, strict=True)):
        crops = TrackCrops.load(path)
        if place >= known and recordings.variants_of(crops):
            continue
        places += [place] * len(crops.clips)
        clips.append(crops.clips)
        lengths.append(crops.clip_seconds)
        labels += [min(place, known)] * len(crops.clips)
        part += [parts[track.id]] * len(crops.clips)
    inputs = np.concatenate(clips)
    label, length, part_of = np.array(labels), np.concatenate(lengths), np.array(part)
    track_of = np.array(places)
    weights = {
        "float": networks[0].head.weight.detach() * scale,
        "quantized": networks[1].head.quant_weight().value.detach() * scale,
    }
    enrolled = np.flatnonzero(label < known)
    results = {}
    for phase, own in weights.items():
        results[phase] = [np.concatenate(list(_scores(inputs[enrolled], [own], totals.rows)))]
    for left in range(len(totals.products)):
        fitted = torch.from_numpy(totals.weights(run.config.training.shrinkage, without=left))
        out = totals.part_of_song[totals.rows.songs] == left
        mine = inputs[part_of == left]
        for phase, own in weights.items():
            # what the fit without the songs says, and what quantization does to the clip
            matrices = [fitted, own - weights["float"]] if phase == "quantized" else [fitted]
            said = np.concatenate(
                [np.empty((0, known + 1)), *_scores(mine, matrices, totals.rows, out)]
            )
            for row, place in enumerate(track_of[part_of == left].tolist()):
                said[row, list(alike.get(place, ()))] = np.nan
            results[phase].append(said)
    order = np.argsort(part_of, kind="stable")
    told = np.concatenate([label[enrolled], np.full(len(label), known)])
    seconds = np.concatenate([length[enrolled], length[order]])
    scores = {phase: np.concatenate(some).astype(np.float32) for phase, some in results.items()}
    compared = ~np.isnan(scores["float"][:, :-1]).all(1)  # with at least one song
    return Judged(told[compared], seconds[compared]), {
        phase: some[compared] for phase, some in scores.items()
    }


def _scores(
    inputs: Array, matrices: list[torch.Tensor], rows: Rows, out: Array | None = None
) -> Iterator[Array]:
    """Songs' scores of some clips after others, from the sum of matrices.

    Args:
        inputs: quantized, int8 [clips, inputs].
        matrices: float32 [rows + 1, inputs] each.
        rows: of every song.
        out: rows that mean nothing, bool [rows].
    """
    matrix = sum(matrices[1:], matrices[0])
    for start in range(0, len(inputs), CLIPS_AT_ONCE):
        some = torch.from_numpy(inputs[start : start + CLIPS_AT_ONCE]).float()
        logits = (some @ matrix.T).double().numpy()
        if out is not None:
            logits[:, :-1][:, out] = np.nan
        yield rows.scores(logits)
