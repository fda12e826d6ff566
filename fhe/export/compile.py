"""Compiling a trained network to FHE and exporting it as an artifact that has proved itself."""

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from concrete import fhe
from concrete.ml.deployment import FHEModelDev
from concrete.ml.quantization import QuantizedModule
from concrete.ml.torch.compile import compile_brevitas_qat_model
from torch import Tensor

from ...configs.schema import FheSettings
from ...model.frontend import IMAGE_LIMIT
from ...model.network import Network, network_logits
from ...support.errors import CompileError
from ...support.files import save_array
from ...support.timing import timed
from ...support.units import readable_seconds
from ...training.data.clips import ClipImages, clip_images, list_test_clips
from ...training.data.pool import TrainingData
from ...training.run import Run
from ...training.trainer import prepare_data, training_images
from ..artifact import (
    FORMAT_VERSION,
    ArtifactConfig,
    artifact_id,
    file_hashes,
    installed_versions,
)
from ..circuit import PROOFS, add_matrix
from ..number import Number, ending_in, fit_number
from .blocks import blocked_products
from .card import NAME as CARD
from .card import model_card
from .exact_weights import exact_weights
from .execution import Execution, execute

CALIBRATION_POOL = 20
"""Calibration clips are the most extreme and random ones of this many times their number."""
SAFE_P_ERROR = 1e-6
"""Of look-ups that find the song's number: one that is off can name any song, and there are
thousands, while a network averages over its errors. (For few songs more errors would do, but take
larger keys and no fewer seconds.)"""
LEAST_CALIBRATION = 20
"""Fewer images than these do not show how far values reach."""
HEADROOM = 1.25
"""How much further than those a clip may drive the logits of a network without hidden layers."""


def compile_network(
    network: Network,
    calibration: np.ndarray,
    settings: FheSettings,
    number: Number | None = None,
) -> QuantizedModule:
    """Compile a whole quantized network with Concrete ML, at 128 bits of security.

    Args:
        network: trained.
        calibration: images from which the compiler learns the range of every value,
            float32 [clips, channels, bands, columns].
        settings: p_error and rounding.
        number: how the circuit finds the song's number; None for one that ends in the logits.

    Raises:
        CompileError: the compiler found no parameters, or met something it cannot compile.
    """
    kept = network.kept_bits
    rounding = None
    if kept:
        rounding = {"n_bits": max(kept), "method": settings.rounding_method.upper()}
    strategy = settings.parameter_strategy
    if strategy == "auto":
        strategy = "precision" if number is None else "precision_and_norm2"
    mono = strategy == "mono"
    configuration = fhe.Configuration(
        compress_input_ciphertexts=True,
        compress_evaluation_keys=True,
        dump_artifacts_on_unexpected_failures=False,  # into the working directory
        parameter_selection_strategy="mono" if mono else "multi",
        multi_parameter_strategy="precision" if mono else strategy,
        approximate_rounding_config=fhe.ApproximateRoundingConfig(
            # otherwise a second look-up is added from five kept bits upwards
            approximate_clipping_start_precision=max(5, max(kept, default=0) + 1)
        ),
    )
    try:
        with (
            warnings.catch_warnings(),
            exact_weights(kept),
            blocked_products(),
            ending_in(number),
        ):
            warnings.simplefilter("ignore")
            return compile_brevitas_qat_model(
                network.for_export(),
                torch.from_numpy(calibration),
                rounding_threshold_bits=rounding,
                p_error=settings.p_error if number is None else min(settings.p_error, SAFE_P_ERROR),
                configuration=configuration,
            )
    except (RuntimeError, AssertionError, ValueError) as error:
        raise CompileError(
            f"Concrete cannot compile this network: {_first_line(error)}. Fewer bits or "
            "units, a higher fhe.p_error or fewer network.rounding_bits may help."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def calibration_images(run: Run, network: Network, data: TrainingData) -> np.ndarray:
    """Training images that span the ranges of all accumulators.

    Half are those that drive the first layer furthest, half are random; but none goes beyond the
    width that layer was trained to be rounded at, else the compiler would round more coarsely.
    Without hidden layers nothing saturates, and a logit beyond the circuit's range would wrap
    around; so some images are there that reach further than any clip did.
    """
    wanted = run.config.fhe.calibration_clips
    images = training_images(run, data, CALIBRATION_POOL * wanted)
    reach, limit = first_reach(network, images)
    images, reach = images[reach <= limit], reach[reach <= limit]
    if len(images) < min(wanted, LEAST_CALIBRATION):
        raise CompileError(
            f"Only {len(images)} of {CALIBRATION_POOL * wanted} training clips stay within the "
            "bits that the first layer keeps; the compiler needs more to learn the ranges from. "
            "Raise fhe.calibration_clips or lower the filter bank's overflow, and train again."
        )
    wanted = min(wanted, len(images))
    extreme = reach.argsort(descending=True)[: wanted // 2]
    rng = np.random.default_rng([run.config.seed, 9])
    others = rng.choice(len(images), wanted - len(extreme), replace=False)
    chosen = images[np.concatenate([extreme.numpy(), others])]
    if not len(network.blocks):
        further = (HEADROOM * images[extreme[:10]]).clamp(-IMAGE_LIMIT, IMAGE_LIMIT)
        chosen = torch.cat([chosen, further])
    return chosen.numpy()


def first_reach(network: Network, images: Tensor) -> tuple[Tensor, float]:
    """How far each image drives the first layer's accumulators, and how far it should.

    Returns:
        Largest absolute accumulator of each image, as an integer, float [images]; the largest
        one that fits the width the layer was trained at.
    """
    block = network.blocks[0] if len(network.blocks) else None
    first = block.linear if block else network.head
    rounding = block.rounding if block else None
    limit = rounding.limit if rounding else float("inf")
    reach = []
    with torch.no_grad():
        for part in images.split(256):
            entry = network.entry(part)
            flat = entry if isinstance(first, torch.nn.Conv2d) else entry.flatten(1)
            out = first(flat)
            out = out.value if hasattr(out, "value") else out
            scale = entry.scale * first.quant_weight().scale
            reach.append((out / scale).abs().flatten(1).amax(1))
    return torch.cat(reach), limit


@dataclass(frozen=True)
class Agreement:
    """How the answers to the check clips compare; numbers have no logits to compare."""

    clips: int
    execute_differs: int
    simulate_differs: int
    largest_logit_difference: float | None
    right: int


def export(
    run: Run,
    folder: Path,
    *,
    announce: Callable[[str], None] = print,
    check_clips: int | None = None,
) -> Path:
    """Compile a trained run, prove it under real FHE, and write the artifact.

    Args:
        run: trained.
        folder: where the artifact goes; replaced only when the new one has passed.
        announce: told in one line each what happens.
        check_clips: clips to prove it with; the config's number where None.

    Returns:
        The artifact's folder.

    Raises:
        CompileError: the network does not compile, or FHE disagrees beyond ``fhe.tolerance``.
        RunError: training has not finished.
    """
    settings = run.config.fhe
    folder = folder.resolve()
    if folder.exists() and not (folder / "manifest.json").is_file() and any(folder.iterdir()):
        raise CompileError(
            f"{folder}: holds something that is not an artifact, and would be replaced. "
            "Name an empty or a new folder."
        )
    partial = folder.with_name(folder.name + ".partial")
    module, manifest = build(run, partial, announce=announce)
    clips = _check_clips(run, check_clips or settings.check_clips)
    execution = execute(partial, module, clips.images.numpy(), title="Proving under real FHE")
    number = Number.of_manifest(manifest)
    agreement = _agreement(run, execution, clips, number)
    costs = execution.costs
    differs = max(agreement.execute_differs, agreement.simulate_differs)
    share = differs / agreement.clips
    announce(
        f"Real FHE agrees with the quantized network on "
        f"{agreement.clips - agreement.execute_differs} of {agreement.clips} held-out clips, "
        f"simulation on {agreement.clips - agreement.simulate_differs}; "
        f"{readable_seconds(costs['compute_seconds'])} a query."
    )
    if share > settings.tolerance:
        shutil.rmtree(partial)
        raise CompileError(
            f"FHE answers differ from the quantized network's on {differs} of {agreement.clips} "
            f"clips ({share:.0%}), {agreement.execute_differs} of them in real FHE; "
            f"fhe.tolerance={settings.tolerance:.0%} is allowed. Nothing was exported. Raise "
            "network.rounding_bits or lower fhe.p_error."
        )
    manifest |= {"costs": costs, "agreement": vars(agreement)}
    _write_manifest(partial, manifest)
    card = model_card(manifest, run.config, run.split())
    (partial / CARD).write_text(card, "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder


def build(
    run: Run,
    folder: Path,
    *,
    data: TrainingData | None = None,
    announce: Callable[[str], None] = print,
) -> tuple[QuantizedModule, dict]:
    """Compile a trained run and write an artifact that has yet to prove itself.

    Args:
        run: trained.
        folder: written anew.
        data: what the run was trained on; prepared where None.
        announce: told in a line what was compiled.

    Returns:
        The compiled module; the manifest, still without costs.

    Raises:
        CompileError: the network does not compile.
        RunError: training has not finished.
    """
    network, settings = run.network(quantized=True), run.config.fhe
    calibration = calibration_images(run, network, data or prepare_data(run))
    number = None if settings.answer == "logits" else _number(run, network, calibration)
    module, compile_seconds = timed(lambda: compile_network(network, calibration, settings, number))
    circuit = module.fhe_circuit
    announce(
        f"Compiled in {compile_seconds:.0f} s: {circuit.programmable_bootstrap_count} PBS, "
        f"widest value {circuit.graph.maximum_integer_bit_width()} bits."
    )
    shutil.rmtree(folder, ignore_errors=True)
    _write_parts(run, module, calibration, folder)
    parts = folder / "client", folder / "server"
    added = add_matrix(module, calibration[:PROOFS], *parts)
    if not added and not circuit.programmable_bootstrap_count:
        announce("Concrete's own code will compute queries: one matrix product cannot.")
    manifest = {
        "format_version": FORMAT_VERSION,
        "id": "",
        "name": run.config.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"hushtune": version("hushtune"), **installed_versions()},
        "split_sha256": run.split().digest(),
        "config": _travelling_config(run).model_dump(mode="json"),
        "circuit": _circuit_facts(module),
        "decision": run.decision(quantized=True).to_json(),
        "number": None if number is None else number.to_json(),
        "costs": {},
        "accuracy": run.read_json("result.json") if run.path("result.json").exists() else None,
        "agreement": None,
        "files": file_hashes(folder),
        "catalogue": [
            {"id": track.id, "title": track.title, "artist": track.artist}
            for track in run.split().known
        ],
    }
    manifest["id"] = artifact_id(manifest)
    _write_manifest(folder, manifest)
    return module, manifest


def _number(run: Run, network: Network, calibration: np.ndarray) -> Number:
    """How the circuit is to find the song's number."""
    labels, logits = run.calibration(quantized=True)
    reached = network_logits(network, torch.from_numpy(calibration))
    limits = (float(reached.min()), float(reached.max()))
    false_alarms = run.config.training.false_alarm_rate
    return fit_number(logits, labels, network.logit_step(), limits, false_alarms)


def _write_parts(run: Run, module: QuantizedModule, calibration: np.ndarray, folder: Path) -> None:
    deployment = folder / "deployment"
    FHEModelDev(str(deployment), module).save(via_mlir=True)
    for part in ("client", "server"):
        (folder / part).mkdir()
        (deployment / f"{part}.zip").rename(folder / part / f"{part}.zip")
    deployment.rmdir()
    for name in ("statistics.npy", "selected.npy"):
        if run.path(name).exists():
            shutil.copy(run.path(name), folder / "client" / name)
    (folder / "owner").mkdir()
    shutil.copy(run.path("quantized.pt"), folder / "owner" / "network.pt")
    save_array(folder / "owner" / "calibration.npy", calibration)


def _write_manifest(folder: Path, manifest: dict) -> None:
    import json

    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", "utf-8")


def _travelling_config(run: Run) -> ArtifactConfig:
    config = run.config
    return ArtifactConfig(
        signal=config.signal, spectrum=config.spectrum, network=config.network, fhe=config.fhe
    )


def _circuit_facts(module: QuantizedModule) -> dict:
    circuit = module.fhe_circuit
    return {
        "pbs": circuit.programmable_bootstrap_count,
        "widest_bits": circuit.graph.maximum_integer_bit_width(),
        "p_error": circuit.p_error,
        "bootstrap_key_bytes": circuit.size_of_bootstrap_keys,
        "keyswitch_key_bytes": circuit.size_of_keyswitch_keys,
    }


def _check_clips(run: Run, count: int) -> ClipImages:
    """Held-out clips, known and unknown ones in the proportion three to one."""
    split = run.split()
    clips = list_test_clips(run.config, split)
    rng = np.random.default_rng([run.config.seed, 10])
    known = [clip for clip in clips if clip.label != split.unknown_class]
    unknown = [clip for clip in clips if clip.label == split.unknown_class]
    unknowns = max(1, count // 4) if count > 1 else 0
    chosen = [known[i] for i in rng.permutation(len(known))[: count - unknowns]]
    chosen += [unknown[i] for i in rng.permutation(len(unknown))[:unknowns]]
    return clip_images(chosen, run.config, run.front_end(), workers=run.config.training.workers)


def _agreement(
    run: Run, execution: Execution, clips: ClipImages, number: Number | None
) -> Agreement:
    quantized = network_logits(run.network(quantized=True), clips.images)
    labels = clips.labels.numpy()
    if number is not None:
        answers, simulated = execution.executed, execution.simulated
        wanted, furthest = number.classes(quantized), None
    else:
        decide = run.decision(quantized=True).classes
        said = (execution.executed, execution.simulated, quantized)
        answers, simulated, wanted = (decide(logits) for logits in said)
        furthest = float(np.abs(execution.executed - quantized).max())
    return Agreement(
        len(quantized),
        int((answers != wanted).sum()),
        int((simulated != wanted).sum()),
        furthest,
        int((answers == labels).sum()),
    )
