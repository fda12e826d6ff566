"""The proof at export: real FHE answers held-out clips as the quantized network does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from concrete.ml.quantization import QuantizedModule

from ...model.network import network_logits
from ...support.errors import CompileError
from ...support.seeds import Stream
from ...support.units import readable_seconds
from ...training.data.clips import ClipImages, clip_images, list_test_clips
from ...training.run import Run
from ..manifest import Agreement, ArtifactCosts
from ..number import Number
from .execution import Execution, execute


def verify(
    run: Run,
    folder: Path,
    module: QuantizedModule,
    number: Number | None,
    *,
    clips: int,
    announce: Callable[[str], None],
) -> tuple[ArtifactCosts, Agreement]:
    """Answer held-out clips under real FHE, with the files of an artifact.

    Args:
        run: trained.
        folder: of the artifact.
        module: the one it was written from.
        number: how the circuit finds the song's number; None where it ends in the logits.
        clips: how many.
        announce: called with a line about how they agree.

    Returns:
        What the queries cost; how the answers agree.

    Raises:
        CompileError: FHE disagrees with the quantized network beyond ``fhe.tolerance``.
    """
    held_out = _check_clips(run, clips)
    execution = execute(folder, module, held_out.images.numpy(), title="Proving under real FHE")
    agreement = _agreement(run, execution, held_out, number)
    announce(
        "Real FHE agrees with the quantized network on "
        f"{agreement.clips - agreement.execute_differs} of {agreement.clips} held-out clips, "
        f"simulation on {agreement.clips - agreement.simulate_differs}; "
        f"{readable_seconds(execution.costs.compute_seconds)} a query."
    )
    differs = max(agreement.execute_differs, agreement.simulate_differs)
    share, tolerance = differs / agreement.clips, run.config.fhe.tolerance
    if share > tolerance:
        raise CompileError(
            f"FHE answers differ from the quantized network's on {differs} of {agreement.clips} "
            f"clips ({share:.0%}), {agreement.execute_differs} of them in real FHE; "
            f"fhe.tolerance={tolerance:.0%} is allowed. Nothing was exported. Raise "
            "network.rounding_bits or lower fhe.p_error."
        )
    return execution.costs, agreement


def _check_clips(run: Run, count: int) -> ClipImages:
    """Held-out clips, known and unknown ones in the proportion three to one."""
    split = run.split()
    clips = list_test_clips(run.config, split)
    rng = np.random.default_rng([run.config.seed, Stream.PROOF_CLIPS])
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
    answers, simulated, furthest = execution.executed, execution.simulated, None
    if number is None:
        decision, rows = run.decision(quantized=True), run.rows()
        furthest = float(np.abs(answers - quantized).max())
        answers, simulated, wanted = (
            decision.classes(rows.scores(said)) for said in (answers, simulated, quantized)
        )
    else:
        wanted = number.classes(quantized)
    return Agreement(
        clips=len(quantized),
        execute_differs=int((answers != wanted).sum()),
        simulate_differs=int((simulated != wanted).sum()),
        largest_logit_difference=furthest,
        right=int((answers == labels).sum()),
    )
