"""The command line: ``hushtune COMMAND --help`` explains each command with an example."""

import json
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from hushtune.configs.errors import ConfigError, HushtuneError
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
messages = Console(stderr=True, highlight=False, soft_wrap=True)

app = typer.Typer(
    name="hushtune",
    help="Name that tune without telling anyone what you hear: music recognition under FHE.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Show or check configurations.", no_args_is_help=True)
app.add_typer(config_app, name="config")
report_app = typer.Typer(help="Compare, publish and describe reports.", no_args_is_help=True)
app.add_typer(report_app, name="report")


class FheMode(str, Enum):
    """How `identify` runs the network."""

    execute = "execute"
    simulate = "simulate"
    clear = "clear"


class ProtocolName(str, Enum):
    """What the folds of `evaluate` hold out."""

    conditions = "conditions"
    passages = "passages"
    halves = "halves"
    trained = "trained"


class Baseline(str, Enum):
    """What `evaluate` compares with."""

    mfcc = "mfcc"
    landmarks = "landmarks"
    none = "none"


def say(text: str) -> None:
    """A line for people, beside the results."""
    messages.print(text, markup=False)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from hushtune import __version__

        console.print(__version__)
        raise typer.Exit


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
        run = train_config(_load_config_or_run(config), announce=say)
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
    from hushtune.fhe.compiling import export
    from hushtune.training.run import Run

    trained = Run.open(run)
    folder = export(
        trained, artifact or trained.path("artifact"), announce=say, check_clips=check_clips
    )
    console.print(f"{folder}", markup=False)


@app.command()
def identify(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact.")],
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: WAV, FLAC, OGG or MP3.")
    ] = None,
    fhe: Annotated[
        FheMode,
        typer.Option(help="execute: real FHE; simulate: Concrete's simulation; clear: no FHE."),
    ] = FheMode.execute,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    top: Annotated[int, typer.Option(min=1, max=100, help="How many matches to give.")] = 3,
    keys: Annotated[
        Path | None,
        typer.Option(help="Key file; made on first use. Default: in your data folder."),
    ] = None,
) -> None:
    """Identify clips: title and artist, or "unknown".

    Example: [bold]hushtune identify runs/demo/artifact clip.mp3[/bold]
    """
    files = list(clips or [])
    if not files:
        raise ConfigError("No clip given. Give an artifact and clips.")
    from hushtune.recognizer import Recognizer

    recognizer = Recognizer(artifact, fhe.value, keys)
    if recognizer.key_seconds is not None:
        say(f"Made new keys in {recognizer.key_seconds:.1f} s.")
    _identify_all(files, lambda clip: _with_progress(recognizer, clip, top), fhe.value, as_json)


def _identify_all(clips: list[Path], identify_one, mode: str, as_json: bool) -> None:
    """Identify clips one after another; a clip that cannot be is told and passed over."""
    results, failed = [], False
    for clip in clips:
        try:
            answer = identify_one(clip)
        except HushtuneError as error:
            failed = True
            results.append({"clip": str(clip), "error": str(error)})
            say(f"Error: {error}")
            continue
        results.append({"clip": str(clip), "mode": mode, **answer.to_json()})
        if not as_json:
            console.print(_answer_text(clip, answer), markup=False)
    if as_json:
        sys.stdout.write(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if failed:
        raise typer.Exit(1)


@app.command()
def info(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole manifest.")] = False,
) -> None:
    """Show what an artifact is, what it costs and how good it is.

    Example: [bold]hushtune info runs/demo/artifact[/bold]
    """
    from hushtune.fhe.artifact import PARTS, Artifact

    there = tuple(part for part in PARTS if (artifact / part).is_dir())
    loaded = Artifact(artifact, there)
    if as_json:
        sys.stdout.write(json.dumps(loaded.manifest, indent=1, ensure_ascii=False) + "\n")
        return
    console.print(_manifest_text(loaded.manifest, there), markup=False)


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
    from hushtune.training.clips import write_clips
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


@app.command()
def evaluate(
    config: Annotated[
        Path, typer.Argument(help="A YAML file, a shipped config's name, or a run's folder.")
    ],
    folds: Annotated[int, typer.Option(min=2, max=50, help="Folds of conditions, passages.")] = 10,
    fhe_clips: Annotated[
        str, typer.Option(help="Clips of each fold in real FHE: a number, or 'all'.")
    ] = "8",
    protocol: Annotated[
        list[ProtocolName],
        typer.Option(
            help="What a fold holds out, besides noise and rooms. conditions: nothing more; "
            "passages: a part of every track; halves: half of every track; trained: no folds, the "
            "run's own networks. Repeat for several."
        ),
    ] = [ProtocolName.conditions, ProtocolName.passages],  # noqa: B006
    baseline: Annotated[
        list[Baseline], typer.Option(help="What to compare with. Repeat for several.")
    ] = [Baseline.mfcc, Baseline.landmarks],  # noqa: B006
    cost: Annotated[
        bool, typer.Option(help="Measure costs against catalogue size and cores, too.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; RUNS/NAME/evaluation where not given."),
    ] = None,
) -> None:
    """Cross-validate a configuration and write a report; go on where it was interrupted.

    Example: [bold]hushtune evaluate configs/corpus.yaml --folds 10 --fhe-clips 8[/bold]
    """
    from hushtune.evaluate import COST_SONGS, headline
    from hushtune.evaluate import evaluate as run_evaluation

    if fhe_clips != "all" and not fhe_clips.isdigit():
        raise ConfigError(f"--fhe-clips={fhe_clips}: expected a number from 0, or 'all'.")
    settings = _load_config_or_run(config)
    folder = out or settings.runs / settings.name / "evaluation"
    try:
        report = run_evaluation(
            settings,
            folder=folder,
            protocols=[name.value for name in protocol],
            folds=folds,
            fhe_clips=None if fhe_clips == "all" else int(fhe_clips),
            baselines=[name.value for name in baseline],
            cost_songs=COST_SONGS if cost else None,
            command=" ".join(["hushtune", *sys.argv[1:]]),
            announce=say,
        )
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.")
        raise typer.Exit(130) from None
    console.print(headline(report), markup=False)
    say(f"Report: {folder / 'report.md'}")


@report_app.command("compare")
def report_compare(
    first: Annotated[Path, typer.Argument(help="A report.json or the folder it lies in.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
) -> None:
    """Show two reports side by side, and which differences exceed the noise.

    Example: [bold]hushtune report compare runs/a/evaluation runs/b/evaluation[/bold]
    """
    from hushtune.eval.compare import compare, costs
    from hushtune.eval.report import read_report

    reports = read_report(first), read_report(second)
    differences = compare(*reports)
    if not differences:
        raise ConfigError(f"{first} and {second} share no protocol and system to compare.")
    console.print(_comparison(differences, costs(*reports)), markup=False)


@report_app.command("write")
def report_write(
    report: Annotated[Path, typer.Argument(help="A report.json or the folder it lies in.")],
    page: Annotated[Path, typer.Argument(help="Markdown file to write.")],
    readme: Annotated[
        Path | None, typer.Option(help="A README whose results table to renew.")
    ] = None,
) -> None:
    """Write a report as a page with pictures, and its headline into a README.

    Example: [bold]hushtune report write runs/corpus/evaluation docs/RESULTS.md[/bold]
    """
    from hushtune.eval.report import read_report

    from hushtune.evaluate import publish

    publish(read_report(report), page, readme)
    console.print(f"{page}", markup=False)


@report_app.command("schema")
def report_schema() -> None:
    """Print the JSON schema of report.json.

    Example: [bold]hushtune report schema[/bold]
    """
    from hushtune.evaluate import report_schema as schema

    sys.stdout.write(schema())


@config_app.command("show")
def config_show(
    config: Annotated[Path, typer.Argument(help="A YAML file or a shipped config's name.")],
) -> None:
    """Print a configuration with every default filled in.

    Example: [bold]hushtune config show demo[/bold]
    """
    from hushtune.configs.loading import dump_config, load_config

    sys.stdout.write(dump_config(load_config(config)))


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


def main() -> None:
    """Run the command line: errors in a line or two, exit code 1."""
    warnings.filterwarnings("ignore", message="Named tensors")  # of torch, for Brevitas' authors
    try:
        app()
    except HushtuneError as error:
        say(f"Error: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"Error: {error.filename or ''}: {error.strerror}.")
        sys.exit(1)


def _load_config_or_run(path: Path):
    from hushtune.configs.loading import load_config
    from hushtune.training.run import run_config

    return run_config(path) if (path / "config.yaml").is_file() else load_config(path)


def _with_progress(recognizer, clip: Path, top: int):
    """Identify with a bar that fills over the seconds the artifact is known to take."""
    from hushtune.training.parallel import progress_bar

    if recognizer.mode != "execute":
        return recognizer.identify(clip, top=top)
    expected = recognizer.artifact.manifest["costs"]["compute_seconds"]
    with progress_bar() as bar:
        task = bar.add_task(f"FHE {clip.name[-20:]}", total=round(expected), note="")

        def show(seconds: float) -> None:
            bar.update(task, completed=min(seconds, 0.99 * expected), note=f"{seconds:.0f} s")

        answer = recognizer.identify(clip, top=top, on_progress=show)
        bar.update(task, completed=round(expected), note="")
    return answer


def _answer_text(clip: Path, answer) -> str:
    costs = answer.costs
    head = f"{clip}: {answer.text}"
    if answer.is_unknown:
        head += f" ({answer.unknown_probability:.0%}), not in this catalogue"
    lines = [head]
    for place, match in enumerate(answer.matches, 1):
        lines.append(f"  {place}. {match.song.name}  {match.probability:.1%}")
    if costs.query_bytes:
        lines.append(
            f"  sent {_bytes(costs.query_bytes)}, received {_bytes(costs.response_bytes)}, "
            f"server {costs.compute_seconds:.1f} s"
        )
    lines += [f"  note: {note}" for note in answer.notes]
    return "\n".join(lines)


def _comparison(differences: list, costs: list) -> str:
    """Both reports' figures in columns."""
    lines = [
        f"{'protocol':<11}{'system':<11}{'measure':<18}{'first':>8}{'second':>8}"
        f"{'difference':>12}  95 % interval (points)"
    ]
    for d in differences:
        verdict = "beyond the noise" if d.exceeds_noise else "within the noise"
        lines.append(
            f"{d.protocol:<11}{d.system:<11}{d.measure:<18}{d.first:>8.1%}{d.second:>8.1%}"
            f"{100 * d.value:>+12.2f}  {100 * d.low:+.2f} to {100 * d.high:+.2f}, {verdict}"
            + (" (paired by track)" if d.paired else "")
        )
    if costs:
        lines.append("\nCosts of a query (timings of two runs differ with the machine's load):")
    for protocol, name, first, second in costs:
        ratio = f"x {second / first:.2f}" if first else ""
        lines.append(f"{protocol:<11}{name:<24}{first:>14,.4g}{second:>14,.4g}  {ratio}")
    return "\n".join(lines)


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


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
        "known_lost_as_unknown": "known lost as unknown",
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


def _manifest_text(manifest: dict, parts: tuple[str, ...]) -> str:
    costs, circuit, accuracy = manifest["costs"], manifest["circuit"], manifest["accuracy"]
    versions = ", ".join(f"{name} {value}" for name, value in manifest["versions"].items())
    lines = [
        f"{manifest['name']}: {len(manifest['catalogue'])} songs, made {manifest['created']}",
        f"id          {manifest['id'][:16]}",
        f"versions    {versions}",
        f"parts here  {', '.join(parts)}",
        f"circuit     {circuit['pbs']} PBS, widest value {circuit['widest_bits']} bits, "
        f"p_error {circuit['p_error']:.2g}",
        f"a query     {_bytes(costs['query_bytes'])} up, {_bytes(costs['response_bytes'])} down, "
        f"{costs['compute_seconds']:.1f} s on the machine that exported it",
        f"keys        {_bytes(costs['evaluation_key_bytes'])} uploaded once, "
        f"{costs['key_seconds']:.1f} s to make",
    ]
    if accuracy:
        measured = accuracy["quantized"]
        lines.append(
            f"accuracy    top-1 {measured['top1']:.1%}, top-3 {measured['top3']:.1%}, unknown "
            f"rejected {measured['unknown_rejected']:.1%} (quantized, test clips)"
        )
    return "\n".join(lines)
