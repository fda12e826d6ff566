"""What a fold's compiled circuit predicts in real FHE, and what that costs."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...fhe.circuit import LINEAR
from ...fhe.export.artifact import build
from ...fhe.export.execution import execute
from ...fhe.manifest import Manifest
from ...model.network import network_logits
from ...support.journal import Journal, digest_of
from ...training.data.pool import TrainingData
from ...training.run import Run
from ..bench.cores import seconds_by_cores
from ..metrics import ranked
from ..predictions import ENCRYPTED, NUMBER, SIMULATED, PredictionTable, Thresholds
from .results import FheCosts

EXECUTED = "executed.jsonl"
"""File of a run that keeps its answers in real FHE until the fold is finished."""


def predict_encrypted(
    run: Run,
    table: PredictionTable,
    features: torch.Tensor,
    sample: NDArray[np.int64],
    thresholds: Thresholds,
    *,
    data: TrainingData | None,
    cores: Sequence[int],
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """Compile a fold's network, and add what it predicts in real FHE and simulated.

    Args:
        run: trained.
        table: the predictions go here; where the circuit ends in the song's number, also those of
            the same circuit in the clear, for all clips.
        features: features of the table's clips, float [clips, channels, bands, columns].
        sample: places of the clips to run, int [n].
        thresholds: the quantized network's.
        data: what the run was trained on, with hidden layers.
        cores: numbers of cores to time a query on.
        announce: called with one-line progress messages.

    Returns:
        The fields of `FoldFacts` that this measures.
    """
    folder = run.path("artifact.partial")
    module, manifest = build(run, folder, data=data, announce=announce)
    number = manifest.number
    journal = Journal(run.path(EXECUTED), _circuit_digest(run, manifest))
    done = execute(folder, module, features[sample].numpy(), title="Real FHE", journal=journal)
    decision, rows = run.decision(quantized=True), run.rows()
    for name, answers in ((ENCRYPTED, done.executed), (SIMULATED, done.simulated)):
        if number is None:
            scores = rows.scores(answers)
            table.add(name, ranked(scores), decision.score(scores), thresholds, places=sample)
        else:
            _add_classes(table, name, answers, sample)
    if number is not None:
        logits = network_logits(run.network(quantized=True), features)
        _add_classes(table, NUMBER, number.classes(logits), np.arange(len(features)))
    circuit = manifest.circuit
    measured = {
        "fhe_costs": FheCosts(clips=len(sample), pbs=circuit.pbs, **done.costs.model_dump()),
        "fhe_compute_seconds": done.compute_seconds,
        "widest_bits": circuit.widest_bits,
        "seconds_by_cores": seconds_by_cores(folder, cores),
    }
    shutil.rmtree(folder)
    journal.path.unlink()
    return measured


def _add_classes(
    table: PredictionTable, name: str, classes: NDArray[np.int64], places: NDArray[np.int64]
) -> None:
    """Add a system that names one song, or none, whatever rate of false alarms is asked for."""
    named = np.where(classes < table.songs, classes, -1)
    score = np.where(named >= 0, 1.0, -1.0)
    table.add(name, named[:, None], score, Thresholds(0.0, 0.0), places=places)


def _circuit_digest(run: Run, manifest: Manifest) -> str:
    """Of what decides a circuit's answers and seconds: the same however often it is compiled."""
    number = None if manifest.number is None else asdict(manifest.number)
    matrix = f"server/{LINEAR}" in manifest.files
    settings = [run.config.fhe.model_dump(mode="json"), number, manifest.versions, matrix]
    return digest_of(run.path("quantized.pt").read_bytes(), json.dumps(settings).encode())
