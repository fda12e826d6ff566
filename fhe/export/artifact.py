"""Exporting a trained run as an artifact that has proved itself."""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt
import torch
from concrete.ml.deployment import FHEModelDev
from concrete.ml.quantization import QuantizedModule

from ...model.network import Network, network_logits
from ...support.errors import CompileError
from ...support.timing import timed
from ...training.data.pool import TrainingData
from ...training.run import Run
from ...training.trainer import prepare_data
from ..artifact import (
    FORMAT_VERSION,
    ArtifactConfig,
    artifact_id,
    file_hashes,
    installed_versions,
)
from ..circuit import PROOFS, add_matrix
from ..number import Number
from .calibrate import calibration_features
from .card import NAME as CARD
from .card import model_card
from .compile import circuit_facts, compile_network
from .number import fit_number
from .owner import save_owner_part
from .verify import verify

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
    if folder.exists() and not (folder / "manifest.json").is_file() and any(folder.iterdir()):
        raise CompileError(
            f"{folder}: holds something that is not an artifact, and would be replaced. "
            "Name an empty or a new folder."
        )
    partial = folder.with_name(folder.name + ".partial")
    try:
        module, manifest = build(run, partial, announce=announce)
        number, clips = Number.of_manifest(manifest), check_clips or run.config.fhe.check_clips
        manifest |= verify(run, partial, module, number, clips=clips, announce=announce)
        card = model_card(manifest, run.config, run.split()).encode()
        (partial / CARD).write_bytes(card)
        manifest["files"][CARD] = hashlib.sha256(card).hexdigest()
        _write_manifest(partial, manifest)
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
) -> tuple[QuantizedModule, dict[str, Any]]:
    """Compile a trained run and write an artifact that has yet to prove itself.

    Args:
        run: trained.
        folder: written anew.
        data: what the run was trained on; prepared where None.
        announce: called with a line about what was compiled.

    Returns:
        The compiled module; the manifest, still without costs.

    Raises:
        CompileError: the network does not compile.
        RunError: training has not finished.
    """
    network, settings = run.network(quantized=True), run.config.fhe
    calibration = calibration_features(run, network, data or prepare_data(run))
    number = None if settings.answer == "logits" else _number(run, network, calibration)
    module, compile_seconds = timed(lambda: compile_network(network, calibration, settings, number))
    facts = circuit_facts(module)
    announce(
        f"Compiled in {compile_seconds:.0f} s: {facts['pbs']} PBS, "
        f"widest value {facts['widest_bits']} bits."
    )
    shutil.rmtree(folder, ignore_errors=True)
    _write_circuit(module, folder)
    for name in ("statistics.npy", "selected.npy"):
        if run.path(name).exists():
            shutil.copy(run.path(name), folder / "client" / name)
    save_owner_part(folder, network, calibration)
    added = add_matrix(module, calibration[:PROOFS], folder / "client", folder / "server")
    if not added and not facts["pbs"]:
        announce("Concrete's own code will compute queries: one matrix product cannot.")
    manifest = _manifest(run, folder, facts, number)
    _write_manifest(folder, manifest)
    return module, manifest


def _number(run: Run, network: Network, calibration: npt.NDArray[np.float32]) -> Number:
    """How the circuit is to find the song's number."""
    labels, logits = run.calibration(quantized=True)
    reached = network_logits(network, torch.from_numpy(calibration))
    limits = (float(reached.min()), float(reached.max()))
    rate = run.config.training.false_alarm_rate
    return fit_number(logits, labels, network.logit_step(), limits, rate)


def _write_circuit(module: QuantizedModule, folder: Path) -> None:
    """Write what Concrete ML exports: the same bytes whenever the same network is compiled."""
    deployment = folder / "deployment"
    FHEModelDev(str(deployment), module).save(via_mlir=True)
    for part in ("client", "server"):
        (folder / part).mkdir()
        _without_dates(deployment / f"{part}.zip", folder / part / f"{part}.zip")
    shutil.rmtree(deployment)


def _without_dates(source: Path, target: Path) -> None:
    """Copy a zip file without its files' dates and in the order of their names."""
    with ZipFile(source) as old, ZipFile(target, "w", ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            new.writestr(ZipInfo(name), old.read(name), ZIP_DEFLATED)


def _manifest(
    run: Run, folder: Path, facts: dict[str, Any], number: Number | None
) -> dict[str, Any]:
    config, split, result = run.config, run.split(), run.path("result.json")
    travelling = ArtifactConfig(
        signal=config.signal, spectrum=config.spectrum, network=config.network, fhe=config.fhe
    )
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"hushtune": version("hushtune"), **installed_versions()},
        "split_sha256": split.digest(),
        "config": travelling.model_dump(mode="json"),
        "circuit": facts,
        "decision": run.decision(quantized=True).to_json(),
        "number": None if number is None else number.to_json(),
        "costs": {},
        "accuracy": run.read_json("result.json") if result.exists() else None,
        "agreement": None,
        "files": file_hashes(folder),
        "catalogue": [
            {"id": track.id, "title": track.title, "artist": track.artist} for track in split.known
        ],
    }


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    whole = {**manifest, "id": artifact_id(manifest)}
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", "utf-8")
