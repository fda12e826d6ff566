"""One fold: train, render its test clips, and let every system judge the same clips."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...configs.schema import Config
from ...fhe.circuit import LINEAR
from ...fhe.export.artifact import build
from ...fhe.export.execution import execute
from ...fhe.manifest import Manifest
from ...model.decision import Decision
from ...model.network import network_logits
from ...support.errors import RunError
from ...support.files import replacing
from ...support.journal import Journal, digest_of
from ...support.seeds import Stream
from ...training.calibration import calibrate
from ...training.data.clips import TestClip
from ...training.data.pool import TrainingData
from ...training.data.segments import training_spans
from ...training.data.sounds import split_sounds
from ...training.run import Run
from ...training.trainer import prepare_data, train
from ..baselines.landmarks import LandmarkIndex
from ..baselines.mfcc import MfccVote
from ..bench.cores import seconds_by_cores
from .references import Reference
from .rendering import RANKED, render_features
from .results import STRICT_RATE
from .sample import calibration_clips, encrypted_sample, fold_clips, is_main

FLOAT, QUANTIZED, SIMULATED, ENCRYPTED = "float", "quantized", "simulated", "fhe"
NUMBER = "number"
"""The circuit that ends in the song's number, in the clear."""
MFCC, MFCC_ENCRYPTED, LANDMARKS = "mfcc", "mfcc_fhe", "landmarks"
EXECUTED = "executed.jsonl"
"""File of a run for the answers of a fold that is in real FHE."""


@dataclass(frozen=True)
class Judgement:
    """What a system says of clips.

    Attributes:
        clips: places of the clips in the fold's list, int [n].
        top: the three best songs' classes, best first, int [n, 3].
        score: how much the clip seems to be of a known song, float [n].
        thresholds: of the score, by the rate of false alarms they were fixed for.
    """

    clips: np.ndarray
    top: np.ndarray
    score: np.ndarray
    thresholds: dict[float, float]


@dataclass
class FoldResult:
    """All that the report needs of a fold; `facts` are JSON-ready."""

    clips: list[TestClip]
    judgements: dict[str, Judgement]
    facts: dict = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        arrays = {
            "label": np.array([clip.label for clip in self.clips], np.int32),
            "track": np.array([clip.track.id for clip in self.clips]),
            "snr_db": np.array([clip.snr_db for clip in self.clips]),
            "seconds": np.array([clip.seconds or np.nan for clip in self.clips]),
            "distortion": np.array([clip.distortion for clip in self.clips]),
            "main": np.array([is_main(clip) for clip in self.clips]),
            "facts": np.array(json.dumps(self.facts)),
        }
        for name, judged in self.judgements.items():
            arrays[f"{name}:clips"] = judged.clips.astype(np.int32)
            arrays[f"{name}:top"] = judged.top.astype(np.int32)
            arrays[f"{name}:score"] = judged.score.astype(np.float64)
            arrays[f"{name}:thresholds"] = np.array(sorted(judged.thresholds.items()))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)


@dataclass(frozen=True)
class FoldSettings:
    """What a fold evaluates.

    Attributes:
        encrypted_clips: how many clips run under real FHE; None for all.
        mfcc: whether the bounty winner's approach runs.
        landmarks: whether the landmark matcher runs.
        catalogue_sizes: of sub-catalogues to reject unknown songs with.
        distortions: whether to test each distortion alone, too.
        cores: numbers of cores to time a query on.
    """

    encrypted_clips: int | None
    mfcc: bool
    landmarks: bool
    catalogue_sizes: tuple[int, ...] = (50, 100)
    distortions: bool = True
    cores: tuple[int, ...] = ()


def evaluate_fold(
    run: Run,
    references: Sequence[Reference],
    settings: FoldSettings,
    *,
    announce: Callable[[str], None] = print,
) -> tuple[FoldResult, TrainingData]:
    """Train a fold's run where it is not trained yet, and judge its test clips.

    Args:
        run: with its split on file.
        references: of the known tracks.
        settings: what to evaluate.
        announce: told in one line each what happens.

    Returns:
        What the report needs, and what the fold trained on, whose images are still in the cache.

    Raises:
        RunError: training opened something that is held out for testing.
    """
    config, split = run.config, run.split()
    begun = run.path("metrics.jsonl").exists()
    started = time.monotonic()
    data = prepare_data(run)
    train(config, run=run, data=data, announce=announce)
    check_for_leaks(run)
    facts: dict = {
        "resumed": begun,
        "train_seconds": round(time.monotonic() - started, 1),
        "shipped_rate": config.training.false_alarm_rate,
    }
    clips = fold_clips(config, split, distortions=settings.distortions)
    index = run.path("landmarks.npz") if settings.landmarks else None
    if index is not None:
        marks = [reference.landmarks for reference in references]
        spans = [training_spans(config, reference.seconds) for reference in references]
        LandmarkIndex.build(marks, spans).save(index)
    features = render_features(
        run, clips, mfcc=settings.mfcc, index=index, title="Rendering test clips"
    )
    judgements = _network_judgements(run, clips, features.images, settings)
    sample = encrypted_sample(config, clips, split.unknown_class, settings.encrypted_clips)
    if settings.mfcc or settings.landmarks:
        strangers = render_features(
            run,
            calibration_clips(config, split),
            mfcc=settings.mfcc,
            index=index,
            title="Rendering calibration clips",
            validating=True,
        )
    if index is not None:
        thresholds = _thresholds(strangers.landmark_score, config)
        judgements[LANDMARKS] = Judgement(
            np.arange(len(clips)), features.landmark_top, features.landmark_score, thresholds
        )
        facts["landmark_seconds_a_clip"] = features.landmark_seconds
        index.unlink()
    if settings.mfcc:
        judged, encrypted, costs = _mfcc_judgements(
            config, references, features.mfcc, strangers.mfcc, sample
        )
        judgements[MFCC] = judged
        if encrypted is not None:
            judgements[MFCC_ENCRYPTED] = encrypted
            facts["mfcc_costs"] = costs
    if len(sample):
        folder = run.path("artifact.partial")
        module, manifest = build(run, folder, data=data, announce=announce)
        number = manifest.number
        journal = Journal(run.path(EXECUTED), _circuit_digest(run, manifest))
        images = features.images[sample].numpy()
        done = execute(folder, module, images, title="Real FHE", journal=journal)
        decision, said = run.decision(quantized=True), (done.executed, done.simulated)
        thresholds = judgements[QUANTIZED].thresholds
        for name, answers in zip((ENCRYPTED, SIMULATED), said, strict=True):
            judgements[name] = (
                _judge_logits(answers, sample, decision, thresholds)
                if number is None
                else _judge_classes(answers, sample, split.unknown_class, thresholds)
            )
        if number is not None:
            logits = network_logits(run.network(quantized=True), features.images)
            judgements[NUMBER] = _judge_classes(
                number.classes(logits), np.arange(len(clips)), split.unknown_class, thresholds
            )
        facts["fhe_costs"] = done.costs.model_dump() | {
            "pbs": manifest.circuit.pbs,
            "widest_bits": manifest.circuit.widest_bits,
        }
        facts["fhe_compute_seconds"] = done.compute_seconds
        facts["seconds_by_cores"] = seconds_by_cores(folder, settings.cores)
        shutil.rmtree(folder)
        journal.path.unlink()
    return FoldResult(clips, judgements, facts), data


def _circuit_digest(run: Run, manifest: Manifest) -> str:
    """Of what decides a circuit's answers and seconds: the same however often it is compiled."""
    number = None if manifest.number is None else manifest.number.to_json()
    settings = [run.config.fhe.model_dump(mode="json"), number, manifest.versions]
    settings.append(f"server/{LINEAR}" in manifest.files)
    return digest_of(run.path("quantized.pt").read_bytes(), json.dumps(settings).encode())


def check_for_leaks(run: Run) -> None:
    """Compare what training opened with what is held out.

    Raises:
        RunError: naming what was opened.
    """
    opened = run.read_json("opened.json")
    test = split_sounds(run.config).test
    held = {
        "tracks": {str(track.path) for track in run.split().unknown_test},
        "noise": set(test.noise.names),
        "impulse_responses": set(test.rooms.names),
    }
    leaks = [name for kind, names in held.items() for name in sorted(names & set(opened[kind]))]
    if leaks:
        raise RunError(
            f"{run.folder}: training opened {len(leaks)} file(s) that are held out for testing, "
            f"the first: {leaks[0]}. Its figures would be worthless; delete the cache and the run."
        )


def _thresholds(unknown_scores: np.ndarray, config: Config) -> dict[float, float]:
    """The scores that these unknown clips reach at each rate of false alarms."""
    rates = (STRICT_RATE, config.training.false_alarm_rate)
    return {rate: float(np.quantile(unknown_scores, 1 - rate)) for rate in rates}


def _judge_logits(
    logits: np.ndarray, clips: np.ndarray, decision: Decision, thresholds: dict[float, float]
) -> Judgement:
    top = np.argsort(-logits[:, :-1], axis=1, kind="stable")[:, :RANKED]
    return Judgement(clips, top, decision.score(logits), thresholds)


def _judge_classes(
    classes: np.ndarray, clips: np.ndarray, unknown: int, rates: Iterable[float]
) -> Judgement:
    """Of a system that names one song, or none, whatever rate of false alarms is asked for."""
    named = np.where(classes < unknown, classes, -1)
    top = np.repeat(named[:, None], RANKED, axis=1)
    return Judgement(clips, top, np.where(named >= 0, 1.0, -1.0), dict.fromkeys(rates, 0.0))


def _network_judgements(
    run: Run, clips: list[TestClip], images: torch.Tensor, settings: FoldSettings
) -> dict[str, Judgement]:
    """Both networks on all clips, and on sub-catalogues of the main test's."""
    config = run.config
    everything = np.arange(len(clips))
    truth = np.array([clip.label for clip in clips])
    main = np.array([is_main(clip) for clip in clips])
    songs = run.split().unknown_class
    result = {}
    for name, quantized in ((FLOAT, False), (QUANTIZED, True)):
        network, decision = run.network(quantized=quantized), run.decision(quantized=quantized)
        labels, reference = run.calibration(quantized=quantized)
        logits = network_logits(network, images)
        thresholds = _thresholds(decision.score(reference[labels == songs]), config)
        result[name] = _judge_logits(logits, everything, decision, thresholds)
        for size in settings.catalogue_sizes:
            if size >= songs:
                continue
            rng = np.random.default_rng(
                [config.seed, Stream.CATALOGUE_SIZES, config.fold_number, size]
            )
            kept = np.sort(rng.choice(songs, size, replace=False))
            columns = np.append(kept, songs)
            inside = np.isin(labels, columns)
            mine = np.searchsorted(columns, labels[inside])
            part = reference[inside][:, columns]
            smaller = calibrate(part, mine, config.training.false_alarm_rate)
            thresholds = _thresholds(smaller.score(part[mine == size]), config)
            places = np.flatnonzero(main & np.isin(truth, columns))
            judged = _judge_logits(logits[places][:, columns], places, smaller, thresholds)
            result[f"{name}@{size}"] = Judgement(
                places, kept[judged.top], judged.score, judged.thresholds
            )
    return result


def _mfcc_judgements(
    config: Config,
    references: Sequence[Reference],
    clips: list[np.ndarray],
    strangers: list[np.ndarray],
    sample: np.ndarray,
) -> tuple[Judgement, Judgement | None, dict]:
    """The winner's approach in the clear on all clips, and under FHE on the sample."""
    rows = [reference.rows(config) for reference in references]
    labels = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    features = np.concatenate(rows)
    model = MfccVote().fit(features, labels)
    thresholds = _thresholds(model.judge(strangers)[1], config)
    top, score = model.judge(clips)
    clear = Judgement(np.arange(len(clips)), _three(top), score, thresholds)
    if not len(sample):
        return clear, None, {}
    rng = np.random.default_rng([config.seed, Stream.MFCC_COMPILER_INPUTS])
    model.compile(features[rng.choice(len(features), min(500, len(features)), replace=False)])
    top, score, costs = model.judge_encrypted([clips[place] for place in sample])
    return clear, Judgement(sample, _three(top), score, thresholds), costs


def _three(top: np.ndarray) -> np.ndarray:
    return np.pad(top, ((0, 0), (0, RANKED - top.shape[1])), mode="edge")
