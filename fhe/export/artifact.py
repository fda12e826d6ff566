"""Exporting a trained run as an artifact that has proved itself."""

import hashlib
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from concrete.ml.quantization import QuantizedModule

from ...model.network import Network, network_logits
from ...support.errors import CompileError
from ...support.text import plain
from ...support.timing import timed
from ...training.data.pool import TrainingData
from ...training.data.split import Split
from ...training.run import Run
from ..answer import Song
from ..artifact import MANIFEST, PARTS, file_hashes, installed_versions
from ..manifest import ArtifactConfig, Manifest, SongRows
from ..number import Number
from .calibrate import calibration_features
from .card import NAME as CARD
from .card import model_card
from .circuit import circuit_facts, input_quantizer, output_quantizer, save_circuit
from .compile import compile_network
from .listed import encryption_of
from .matrix import PROOFS, add_matrix
from .number import fit_number
from .owner import save_owner_part
from .verify import verify

TRAVELLING = ("signal", "spectrum", "network", "fhe")
"""Settings of a run that travel in its artifact."""
Announce = Callable[[str], None]


def export(
    run: Run,
    folder: Path,
    *,
    announce: Announce = print,
    check_clips: int | None = None,
) -> Path:
    """Compile a trained run, prove it under real FHE, and write the artifact.

    Args:
        run: trained.
        folder: where the artifact goes. An older artifact there is replaced once the new one has
            passed, and stays if this is interrupted.
        announce: called with one-line progress messages.
        check_clips: clips to prove it with; the config's number where None.

    Returns:
        The artifact's folder.

    Raises:
        CompileError: the network does not compile, or FHE disagrees beyond ``fhe.tolerance``.
        RunError: training has not finished.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise CompileError(
            f"{folder}: holds something that is not an artifact, and would be replaced. "
            "Name an empty or a new folder."
        )
    partial = folder.with_name(folder.name + ".partial")
    try:
        module, manifest = build(run, partial, announce=announce)
        clips = check_clips or run.config.fhe.check_clips
        costs, agreement = verify(
            run, partial, module, manifest.number, clips=clips, announce=announce
        )
        manifest = manifest.model_copy(update={"costs": costs, "agreement": agreement})
        card = model_card(manifest, run.config, run.split()).encode()
        (partial / CARD).write_bytes(card)
        files = {**manifest.files, CARD: hashlib.sha256(card).hexdigest()}
        manifest = manifest.model_copy(update={"files": files})
        (partial / MANIFEST).write_bytes(manifest.to_json())
        _replace_folder(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _replace_folder(folder: Path, new: Path) -> None:
    """Put a new folder in the place of an older one, which comes back if that fails."""
    former = folder.with_name(folder.name + ".former")
    shutil.rmtree(former, ignore_errors=True)
    if folder.exists():
        folder.rename(former)
    try:
        new.rename(folder)
    except BaseException:
        if former.exists():
            former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def build(
    run: Run,
    folder: Path,
    *,
    data: TrainingData | None = None,
    announce: Announce = print,
) -> tuple[QuantizedModule, Manifest]:
    """Compile a trained run and write an artifact that has yet to prove itself.

    Args:
        run: trained.
        folder: written anew.
        data: what the run was trained on, with hidden layers; prepared where None.
        announce: called with a line about what was compiled.

    Returns:
        The compiled module; the manifest, still without costs.

    Raises:
        CompileError: the network does not compile.
        RunError: training has not finished.
    """
    network, settings = run.network(quantized=True), run.config.fhe
    calibration = calibration_features(run, network, data)
    number = None if settings.answer == "logits" else _number(run, network, calibration)
    module, compile_seconds = timed(lambda: compile_network(network, calibration, settings, number))
    facts, encryption = circuit_facts(module), encryption_of(module)
    announce(
        f"Compiled in {compile_seconds:.0f} s: {facts.pbs} PBS, "
        f"widest value {facts.widest_bits} bits."
    )
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    for name in ("statistics.npy", "selected.npy"):
        if run.path(name).exists():
            shutil.copy(run.path(name), folder / "client" / name)
    save_circuit(module, folder / "server" / "server.zip")
    save_owner_part(folder, network, calibration)
    added = add_matrix(module, encryption, calibration[:PROOFS], folder / "server")
    if not added and not facts.pbs:
        announce("Concrete's own code will compute queries: one matrix product cannot.")
    manifest = Manifest(
        name=run.config.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions={
            "hushtune": version("hushtune"),
            "python": platform.python_version(),
            **installed_versions(),
        },
        split_sha256=run.split().digest(),
        config=ArtifactConfig(**{name: getattr(run.config, name) for name in TRAVELLING}),
        circuit=facts,
        encryption=encryption,
        input_quantizer=input_quantizer(module),
        output_quantizer=output_quantizer(module),
        rows=SongRows(**asdict(run.rows())),
        decisions=run.decisions(quantized=True),
        number=number,
        accuracy=run.read_json("result.json") if run.path("result.json").exists() else None,
        files=file_hashes(folder),
        catalogue=_songs(run.split()),
    )
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return module, manifest


def _songs(split: Split) -> tuple[Song, ...]:
    """The enrolled songs, as clients know them."""
    aliases: dict[str, list[str]] = {}
    for track in split.merged:
        aliases.setdefault(track.same_as, []).append(plain(track.name))
    return tuple(
        Song(
            plain(track.id),
            plain(track.title),
            plain(track.artist),
            tuple(name for name in aliases.get(track.id, ()) if name != plain(track.name)),
        )
        for track in split.known
    )


def _number(run: Run, network: Network, calibration: npt.NDArray[np.float32]) -> Number:
    """How the circuit is to find the song's number."""
    if run.rows().total > len(run.split().known):
        raise CompileError(
            "fhe.answer=number: needs one row for each song. Set enrolment.row_seconds to null and "
            "train again, or fhe.answer to logits."
        )
    judged, scores = run.calibration(quantized=True)
    mine = judged.seconds == judged.seconds.max()
    reached = network_logits(network, torch.from_numpy(calibration))
    limits = (float(reached.min()), float(reached.max()))
    rate = run.config.training.false_alarm_rate
    return fit_number(scores[mine], judged.labels[mine], network.logit_step(), limits, rate)
