"""Commands of the service's owner: from a configuration to an artifact."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from hushtune.support.errors import ConfigError, HushtuneError

from hushtune.cli.output import config_of, console, say

app = typer.Typer()
config_app = typer.Typer(help="Show or check configurations.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(help="A YAML file, a shipped config's name, or a run to go on with.")
    ],
) -> None:
    """Train a network; go on where an interrupted run stopped.

    Example: [bold]hushtune train configs/corpus.yaml[/bold]
    """
    from hushtune.eval.accuracy import evaluate_run
    from hushtune.training.trainer import train as train_config

    try:
        run = train_config(config_of(config), announce=say)
        done = run.path("result.json").exists()
        result = run.read_json("result.json") if done else evaluate_run(run)
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.")
        raise typer.Exit(130) from None
    console.print(_accuracy_table(result), markup=False)
    say(f"Run: {run.folder}\nNext: hushtune compile {run.folder}")


@app.command(name="compile")
def compile_run(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", "-o", help="Where to export to; RUN/artifact where not given."),
    ] = None,
    check_clips: Annotated[
        int | None,
        typer.Option(min=1, help="Held-out clips to prove it with under real FHE."),
    ] = None,
) -> None:
    """Compile a trained run to FHE, prove it on held-out clips, export the artifact.

    Example: [bold]hushtune compile runs/corpus[/bold]
    """
    from hushtune.fhe.export.compile import export
    from hushtune.training.run import Run

    trained = Run.open(run)
    folder = export(
        trained, artifact or trained.path("artifact"), announce=say, check_clips=check_clips
    )
    console.print(f"{folder}", markup=False)


@app.command()
def clips(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    folder: Annotated[Path, typer.Argument(help="Where to write the WAV files.")],
    known: Annotated[int, typer.Option(min=0, help="Clips of known songs.")] = 8,
    unknown: Annotated[int, typer.Option(min=0, help="Clips of songs never enrolled.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Which clips to draw.")] = 0,
) -> None:
    """Write noisy test clips of a run's songs as WAV files, with what they are in clips.csv.

    Example: [bold]hushtune clips runs/demo demo-clips --known 8 --unknown 2[/bold]
    """
    from hushtune.training.data.clips import write_clips
    from hushtune.training.run import Run

    for clip, path in write_clips(Run.open(run), folder, known=known, unknown=unknown, seed=seed):
        console.print(f"{path}  {clip.snr_db:g} dB  {clip.track.name}", markup=False)


@app.command()
def demo(
    runs: Annotated[
        Path, typer.Option(help="Folder for the run, the songs and the artifact.")
    ] = Path("runs"),
) -> None:
    """Do everything once on songs composed for the purpose: train, compile, identify under FHE.

    Example: [bold]hushtune demo[/bold]
    """
    from hushtune.demo import run_demo

    right, total = run_demo(runs, console, say)
    if right < 0.9 * total:
        raise HushtuneError(f"Only {right} of {total} clips were answered right; expected 90 %.")


@config_app.command("show")
def config_show(
    config: Annotated[Path, typer.Argument(help="A YAML file or a shipped config's name.")],
) -> None:
    """Print a configuration with every default filled in.

    Example: [bold]hushtune config show demo[/bold]
    """
    from hushtune.configs.loading import dump_config, load_config

    sys.stdout.write(dump_config(load_config(config)))


@config_app.command("reference")
def config_reference() -> None:
    """Print every key of a configuration, with its limits, default and meaning, as Markdown.

    Example: [bold]hushtune config reference > settings.md[/bold]
    """
    from hushtune.configs.reference import config_reference as reference

    sys.stdout.write(f"# Settings\n\n{reference()}")


@config_app.command("check")
def config_check(
    configs: Annotated[list[Path], typer.Argument(help="YAML files or shipped configs' names.")],
) -> None:
    """Check configurations; exit code 1 if one is wrong.

    Example: [bold]hushtune config check configs/*.yaml[/bold]
    """
    from hushtune.configs.loading import load_config

    wrong = []
    for config in configs:
        try:
            load_config(config)
            console.print(f"{config}: ok", markup=False)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))


def _accuracy_table(result: dict) -> str:
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
        lines.append(f"{name:<22}{result['float'][key]:>8.1%}{result['quantized'][key]:>11.1%}")
    by_snr = result["quantized"]["top1_closed_by_snr_db"]
    lines.append(
        "closed top-1, quantized, by SNR: "
        + ", ".join(f"{k} dB {v:.1%}" for k, v in by_snr.items())
    )
    return "\n".join(lines)
