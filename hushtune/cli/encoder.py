"""``hushtune encoder``: train and judge the network that embeds clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushtune.cli.output import console, resumable, say

if TYPE_CHECKING:
    from hushtune.eval.encoder import EncoderReport

group = typer.Typer(help="Train or judge the network that embeds clips.", no_args_is_help=True)


@group.command()
def train(
    config: Annotated[Path, typer.Argument(help="A YAML file, or 'encoder' for the shipped one.")],
) -> None:
    """Train an encoder; resume an interrupted training.

    Example: [bold]hushtune encoder train configs/encoder.yaml[/bold]
    """
    from hushtune.configs.loading import load_encoder_config
    from hushtune.training.encoder.fitting import train_encoder

    settings = load_encoder_config(config)
    with resumable():
        run = train_encoder(settings, announce=say)
    say(f"Run: {run.folder}\nNext: hushtune encoder evaluate {run.folder}")


@group.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a trained encoder.")],
    shortest: Annotated[float, typer.Option(help="Leave out tracks of fewer seconds.")] = 60.0,
    clips: Annotated[
        int, typer.Option(help="Clips of each track, kind and signal-to-noise ratio.", min=1)
    ] = 2,
) -> None:
    """Judge an encoder on music that its training did not hear.

    Example: [bold]hushtune encoder evaluate runs/encoder[/bold]
    """
    from hushtune.eval.encoder import evaluate_encoder
    from hushtune.eval.encoder_card import encoder_card
    from hushtune.support.files import write_atomically, write_json
    from hushtune.training.encoder.run import EncoderRun

    opened = EncoderRun.open(run)
    report = evaluate_encoder(opened, shortest=shortest, clips=clips, announce=say)
    path = opened.folder / "report.json"
    write_json(path, report.to_json())
    write_atomically(opened.folder / "card.md", encoder_card(opened, report).encode())
    console.print(table_of(report), markup=False)
    say(f"Report: {path}, and card.md beside it")


def table_of(report: "EncoderReport") -> str:
    """A report for people."""
    lines = [
        f"{report.songs} songs enrolled ({report.judged} unheard), {report.unknown} unknown; "
        f"{report.values} values",
    ]
    for way in report.ways:
        lines += [
            "",
            f"a row for {way.row_seconds:g} s every {way.step_seconds:g} s: {way.rows:,} rows, "
            f"{way.rows_a_minute:.1f} a minute",
            f"{'clips':<14}{'top-1':>8}{'DIR at 1 %':>12}{'AUROC':>8}{'position':>10}   by dB",
        ]
        for rates in way.rates:
            name = f"{rates.seconds:g} s"
            if rates.speed_percent:
                name += f", +-{rates.speed_percent:g} %"
            by_snr = ", ".join(f"{snr}: {top1:.0%}" for snr, top1 in rates.top1_by_snr_db.items())
            lines.append(
                f"{name:<14}{rates.top1:>8.1%}{rates.dir_1:>12.1%}{rates.auroc:>8.3f}"
                f"{rates.located:>10.1%}   {by_snr}"
            )
    return "\n".join(lines)
