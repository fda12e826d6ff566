"""The report of a sweep: what each variant achieves and costs, and which are on the frontier."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ...configs.schema import FheSettings
from ...support.files import write_atomically
from ...support.machine import Machine
from ...support.units import readable_bytes
from ..bench.cores import extrapolated
from ..report.markdown import render_template
from .plots import draw_frontier
from .schema import SweepResult, VariantResult

AGREEING = 1 - FheSettings().tolerance
"""The share of encrypted clips with the answer in the clear that a variant on the frontier needs:
what an export asks for by default."""
FAR_CORES = 128
"""Of the machine that the bounty named."""


def summary(variant: VariantResult) -> str:
    """One line on a variant."""
    q = variant.quantized_accuracy
    return (
        f"{variant.name}: top-1 {q.top1:.1%}, DIR {q.dir_1:.1%}, {variant.pbs} PBS, "
        f"{variant.compute_seconds:.2f} s, response {readable_bytes(variant.response_bytes)}, "
        f"keys {readable_bytes(variant.evaluation_key_bytes)}."
    )


def machines(variants: Sequence[VariantResult]) -> list[Machine]:
    """Where variants were measured, the one that measured most of them first."""
    return [machine for machine, _ in Counter(v.machine for v in variants).most_common()]


def best(variants: Sequence[VariantResult]) -> set[str]:
    """The frontier: no other variant has as high a DIR at equal false alarms in as few seconds.

    Only variants from the machine that measured most of them are compared, and only those with the
    same number of songs: fewer are identified more easily, in fewer seconds. Variants whose
    encrypted answers differ from those in the clear, of which the DIR is, are left out, and so are
    those that answer with a number, which have no DIR.
    """
    main = machines(variants)[0]
    compared = [
        v
        for v in variants
        if v.machine == main and v.encrypted_agrees >= AGREEING and v.answer == "logits"
    ]

    def beats(other: VariantResult, one: VariantResult) -> bool:
        return (
            other is not one
            and other.songs == one.songs
            and other.compute_seconds <= one.compute_seconds
            and other.quantized_accuracy.dir_1_on_test >= one.quantized_accuracy.dir_1_on_test
        )

    return {v.name for v in compared if not any(beats(other, v) for other in compared)}


def render(result: SweepResult, picture: str) -> str:
    """The report as Markdown.

    Args:
        result: all finished variants.
        picture: path of the plot, relative to the report.
    """
    timed = [v for v in result.variants if len(v.seconds_by_cores) > 1]
    days = sorted({v.created[:10] for v in result.variants})
    return render_template(
        "sweep.md.j2",
        sweep=result,
        variants=result.variants,
        machines=machines(result.variants),
        days=" to ".join(dict.fromkeys([*days[:1], *days[-1:]])),
        best=best(result.variants) if result.variants else (),
        agreeing=AGREEING,
        timed=timed,
        counts=sorted(timed[0].seconds_by_cores) if timed else [],
        far_cores=FAR_CORES,
        extrapolated=extrapolated,
        picture=picture,
    )


def read_sweep(report: Path) -> SweepResult | None:
    """What a sweep's report was made of, from the JSON beside it; None where there is none."""
    try:
        data = (_folder(report) / "frontier.json").read_bytes()
        return SweepResult.model_validate_json(data)
    except (FileNotFoundError, ValidationError):
        return None


def _folder(report: Path) -> Path:
    return report.with_suffix("").with_name(report.stem.lower())


def write_sweep(result: SweepResult, report: Path) -> None:
    """Write a sweep's report; its plot and JSON go to a folder of its name beside it."""
    folder = _folder(report)
    folder.mkdir(parents=True, exist_ok=True)
    if result.variants:
        main = machines(result.variants)[0]
        elsewhere = {v.name for v in result.variants if v.machine != main}
        sound = [v for v in result.variants if v.encrypted_agrees >= AGREEING]
        draw_frontier(sound or result.variants, folder / "frontier.png", elsewhere)
    text = result.model_dump_json(indent=1) + "\n"
    write_atomically(folder / "frontier.json", text.encode())
    write_atomically(report, render(result, f"{folder.name}/frontier.png").encode())
