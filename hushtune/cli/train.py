"""``hushtune train``: from a configuration to a trained run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hushtune.cli.output import config_of, console, resumable, say


def train(
    config: Annotated[
        Path, typer.Argument(help="A YAML file, a shipped config's name, or a run to resume.")
    ],
) -> None:
    """Train a network; resume an interrupted run.

    Example: [bold]hushtune train configs/corpus.yaml[/bold]
    """
    from hushtune.eval.accuracy import evaluate_run
    from hushtune.training.trainer import skipped
    from hushtune.training.trainer import train as train_config

    with resumable():
        run = train_config(config_of(config), announce=say)
        done = run.path("result.json").exists()
        result = run.read_json("result.json") if done else evaluate_run(run)
    console.print(_accuracy_table(result), markup=False)
    for line in skipped(run):
        say(line)
    say(f"Run: {run.folder}\nNext: hushtune compile {run.folder}")


def _accuracy_table(result: dict[str, Any]) -> str:
    conditions = result["conditions"]
    lines = [
        f"Test: {conditions['clip_seconds']:g} s clips of {conditions['known_songs']} known and "
        f"{conditions['unknown_songs']} unknown songs, "
        f"{', '.join(f'{snr:g}' for snr in conditions['snr_db'])} dB, unseen noise and rooms",
        f"{'':<22}{'float':>8}{'quantized':>11}",
    ]
    names = {
        "top1": "top-1",
        "top3": "top-3",
        "top1_closed": "top-1, closed set",
        "top3_closed": "top-3, closed set",
        "unknown_rejected": "unknown rejected",
        "falsely_rejected": "falsely rejected",
        "auroc": "AUROC known/unknown",
        "dir_at_1_percent": "DIR at 1 % FAR",
    }
    for key, name in names.items():
        if result["quantized"][key] is not None:
            shares = f"{result['float'][key]:>8.1%}{result['quantized'][key]:>11.1%}"
            lines.append(f"{name:<22}{shares}")
    by_snr = result["quantized"]["top1_closed_by_snr_db"]
    lines.append(
        "closed top-1, quantized, by SNR: "
        + ", ".join(f"{k} dB {v:.1%}" for k, v in by_snr.items())
    )
    return "\n".join(lines)
