"""Measuring one variant of a sweep."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from ...configs.schema import Config
from ...support.machine import this_machine
from ...training.data.pool import TrainingData
from ...training.run import Run, run_config
from ...training.trainer import prepare_split
from ..crossval.fold import Systems, evaluate_fold
from ..crossval.results import FoldFacts
from ..metrics import dir_at, rates, top1_by
from ..predictions import (
    ENCRYPTED,
    FLOAT,
    NUMBER,
    QUANTIZED,
    STRICT_RATE,
    read_predictions,
    write_predictions,
)
from .schema import Accuracy, VariantResult
from .settings import Variant

TRAINING_SECONDS = "training_seconds.json"
OPEN_SET = ("unknown_rejected", "falsely_rejected", "correctly_identified")


def variant_run(
    folder: Path, variant: Variant, config: Config, announce: Callable[[str], None]
) -> Run:
    """The variant's run, with the split that others of its catalogue have."""
    shaping = config.model_dump(mode="json", include={"catalogue", "split", "seed"})
    text = json.dumps([shaping, config.signal.crop_seconds])
    shared = folder / "splits" / hashlib.sha256(text.encode()).hexdigest()[:12]
    run = Run.create(
        config.model_copy(update={"name": variant.name}), folder / "variants" / variant.name
    )
    for name in ("split.json", "catalogue.json"):
        if (shared / name).exists() and not run.path(name).exists():
            shutil.copy(shared / name, run.path(name))
    trained = run.trained
    twin = None if trained else _trained_alike(folder, run)
    if twin is not None:
        announce(f"Trained as {twin.name} was: taken from there.")
        files = [path for path in twin.glob("*") if path.is_file()]
        # the decision says that training is finished, so it comes last
        for path in sorted(files, key=lambda path: path.name == "decision.json"):
            if path.name != "config.yaml":
                shutil.copy(path, run.path(path.name))
    prepare_split(run, announce)
    shared.mkdir(parents=True, exist_ok=True)
    for name in ("split.json", "catalogue.json"):
        shutil.copy(run.path(name), shared / name)
    return run


def _trained_alike(folder: Path, run: Run) -> Path | None:
    """The folder of another variant whose training was, or would be, the very same."""
    mine = run.config.model_dump(exclude={"name", "runs", "fhe"})
    for path in sorted((folder / "variants").glob("*/decision.json")):
        other = run_config(path.parent).model_dump(exclude={"name", "runs", "fhe"})
        if path.parent != run.folder and other == mine:
            return path.parent
    return None


def measure_variant(
    run: Run,
    variant: Variant,
    digest: str,
    encrypted_clips: int,
    cores: tuple[int, ...],
    announce: Callable[[str], None],
) -> tuple[VariantResult, TrainingData | None]:
    """Train, compile and test a variant.

    Args:
        run: from `variant_run`.
        variant: for its name and note.
        digest: of what is measured.
        encrypted_clips: test clips that run under real FHE.
        cores: numbers of cores to time a query on.
        announce: called with one-line progress messages.

    Returns:
        The result; what the run trained on, with hidden layers, whose features are still in the
        cache.
    """
    systems = Systems(
        encrypted_clips,
        mfcc=False,
        landmarks=False,
        catalogue_sizes=(),
        distortions=False,
        cores=cores,
    )
    trained = run.trained
    fold = evaluate_fold(run, (), systems, announce=announce)
    if not trained:
        run.write_json(TRAINING_SECONDS, {"seconds": fold.facts.train_seconds})
    path = run.folder.with_name(f"{run.folder.name}.csv.gz")
    write_predictions(fold.rows, path)
    return _result(run, variant, digest, fold.facts, read_predictions([path])), fold.data


def _result(
    run: Run, variant: Variant, digest: str, facts: FoldFacts, rows: pd.DataFrame
) -> VariantResult:
    judged = dict(list(rows.groupby("system")))
    quantized, executed = judged[QUANTIZED], judged[ENCRYPTED]
    shown = accuracy(quantized)
    if NUMBER in judged:  # what the circuit answers, at the only threshold that it has
        open_set = accuracy(judged[NUMBER]).model_dump(include=set(OPEN_SET))
        shown = shown.model_copy(update=open_set)
    pairs = executed.merge(judged.get(NUMBER, quantized), on="clip", suffixes=("", "_clear"))
    right = executed["correct"].where(executed["known"], True) & (
        executed["accepted"] == executed["known"]
    )
    main, costs = quantized[quantized["main"]], facts.fhe_costs
    assert costs is not None
    seconds = run.path(TRAINING_SECONDS)
    return VariantResult(
        name=variant.name,
        note=variant.note,
        answer=run.config.fhe.answer,
        digest=digest,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=this_machine(),
        songs=facts.songs,
        known_clips=int(main["known"].sum()),
        unknown_clips=int((~main["known"]).sum()),
        features=math.prod(run.front_end().feature_shape),
        float_accuracy=accuracy(judged[FLOAT]),
        quantized_accuracy=shown,
        encrypted_clips=len(executed),
        encrypted_agrees=float((pairs["answer"] == pairs["answer_clear"]).mean()),
        encrypted_right=float(right.mean()),
        train_seconds=run.read_json(seconds.name)["seconds"] if seconds.exists() else None,
        widest_bits=facts.widest_bits,
        seconds_by_cores=facts.seconds_by_cores,
        **costs.model_dump(include=set(VariantResult.model_fields)),
    )


def accuracy(clips: pd.DataFrame) -> Accuracy:
    """The rates of one system, from all clips it judged."""
    main, lengths = clips[clips["main"]], clips[clips["seconds"].notna()]
    dir_1_on_test = dir_at(
        main["correct"].to_numpy(),
        main["score"].to_numpy(),
        ~main["known"].to_numpy(),
        np.array([STRICT_RATE]),
    )
    shares = {name: share for name, share in rates(main).items() if name in Accuracy.model_fields}
    return Accuracy(
        **shares,
        top1_by_snr_db=top1_by(main, "snr_db"),
        top1_by_seconds=top1_by(lengths, "seconds"),
        dir_1_on_test=float(dir_1_on_test[0]),
    )
