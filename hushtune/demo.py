"""The demo: compose songs, train, compile, identify noisy clips under real FHE, enrol one more."""

import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hushtune.configs.loading import load_config
from hushtune.configs.schema import ComposedCatalogue
from hushtune.eval.accuracy import evaluate_run
from hushtune.eval.query_plot import draw_query
from hushtune.fhe.answer import Answer
from hushtune.fhe.artifact import Artifact
from hushtune.fhe.export.artifact import export
from hushtune.model.audio import read_audio, read_clip
from hushtune.recognizer import Recognizer
from hushtune.support.errors import ArtifactError
from hushtune.support.text import plain
from hushtune.support.units import readable_bytes, readable_position, readable_seconds
from hushtune.training.data.clips import write_clips
from hushtune.training.data.composer import SAMPLE_RATE, compose_catalogue
from hushtune.training.linear.changes import enrol
from hushtune.training.run import Run
from hushtune.training.trainer import train

KNOWN_CLIPS, UNKNOWN_CLIPS = 7, 3


def run_demo(runs: Path, console: Console, say: Callable[[str], None]) -> tuple[int, int]:
    """Run the demo, reusing what an earlier one left.

    Args:
        runs: folder for the run, the songs and the artifact.
        console: the table goes here.
        say: called with one-line progress messages.

    Returns:
        How many clips were answered right, and how many there were.
    """
    started = time.monotonic()
    config = load_config("demo").model_copy(update={"runs": runs.resolve()})
    run = train(config, announce=say)
    if not run.path("result.json").exists():
        evaluate_run(run)
    artifact = run.path("artifact")
    if not _usable(artifact):
        export(run, artifact, announce=say)
    prepared = time.monotonic() - started
    folder = run.path("clips")
    write_clips(run, folder, known=KNOWN_CLIPS, unknown=UNKNOWN_CLIPS)
    keys = run.path(f"{Artifact(artifact, ()).id.hex()[:12]}.keys")  # new artifact, new keys
    recognizer = Recognizer(artifact, keys=keys)
    if recognizer.key_seconds is not None:
        say(f"Made keys in {readable_seconds(recognizer.key_seconds)}: {keys}")
    right, total = _identify_all(recognizer, folder, console, say)
    picture = run.path("query.png")
    _draw(recognizer, folder / "clip01.wav", picture)
    _summarise(run, recognizer, right, total, prepared, console)
    more, one = _one_more(run, artifact, console, say)
    right, total = right + more, total + one
    console.print(f"spectrogram  {picture}\nartifact     {artifact}", markup=False)
    return right, total


def _usable(artifact: Path) -> bool:
    try:
        Artifact(artifact, ("client", "server", "owner"))
    except ArtifactError:
        return False
    return True


def _identify_all(
    recognizer: Recognizer, folder: Path, console: Console, say: Callable[[str], None]
) -> tuple[int, int]:
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    table = Table(title="Noisy clips, identified under real FHE: the server saw ciphertext only")
    for column in ("SNR", "expected", "answer", "at", "prob.", "seconds"):
        table.add_column(column, justify="left" if column in ("expected", "answer") else "right")
    right = 0
    for number, clip in enumerate(clips, 1):
        answer = recognizer.identify(folder / clip["clip"])
        given = "unknown" if answer.best is None else answer.best.song.name
        good = given == clip["expected"]
        right += good
        probability = (
            answer.unknown_probability if answer.is_unknown else answer.matches[0].probability
        )
        costs = answer.costs
        table.add_row(
            f"{float(clip['snr_db']):g} dB",
            _title(clip["expected"]),
            _title(given) + ("" if good else "  (wrong)"),
            _place(answer),
            "-" if probability is None else f"{probability:.0%}",
            f"{costs.seconds:.1f}",
        )
        say(f"clip {number} of {len(clips)}: {answer.text} ({costs.seconds:.1f} s)")
    console.print(table)
    return right, len(clips)


def _place(answer: Answer) -> str:
    """Where in the song the clip lies, in minutes and seconds."""
    offset = None if answer.best is None else answer.best.offset_seconds
    return "" if offset is None else readable_position(offset)


def _one_more(
    run: Run, artifact: Path, console: Console, say: Callable[[str], None]
) -> tuple[int, int]:
    """Enrol one more song in the trained run, and identify it.

    Returns:
        How many clips of it were answered right, of how many.
    """
    catalogue = run.config.catalogue
    assert isinstance(catalogue, ComposedCatalogue), "the demo composes its songs"
    other = catalogue.model_copy(update={"tracks": 1, "seed": catalogue.seed + 1})
    (song,) = compose_catalogue(other, run.cache / "songs")
    wave = read_audio(song.path, SAMPLE_RATE)
    clip = (
        wave[len(wave) // 2 :][: round(run.config.signal.crop_seconds) * SAMPLE_RATE],
        SAMPLE_RATE,
    )
    new = run.path(f"{plain(song.name)}{song.path.suffix}")
    shutil.copy(song.path, new)
    before = Recognizer(artifact).identify(clip).text
    started = time.monotonic()
    enrol(run, [new], announce=say)
    enrolled = time.monotonic() - started
    later = run.path("artifact-with-one-more")
    if not _usable(later):
        export(run, later, announce=say, check_clips=1)
    took = time.monotonic() - started
    answer = Recognizer(later).identify(clip)
    console.print(
        f"One more song, {_title(song.name)!r}: {before!r} before it was enrolled, "
        f"{_title(answer.text)!r} at {_place(answer)} after.\n"
        f"Enrolled in {enrolled:.0f} s, exported in {took - enrolled:.0f} s; nothing was trained "
        "anew.",
        markup=False,
    )
    return int(answer.text == song.name), 1


def _title(name: str) -> str:
    """The title alone; composed artists have no dash in their names."""
    return name.rpartition(" - ")[2]


def _draw(recognizer: Recognizer, clip: Path, picture: Path) -> None:
    front_end = recognizer.artifact.front_end()
    wave, _ = read_clip(clip, front_end.signal.sample_rate_hz)
    query = recognizer.client.encrypt(clip)
    draw_query(wave, front_end, query, picture, title="A noisy clip, as heard, sent and seen")


def _summarise(
    run: Run, recognizer: Recognizer, right: int, total: int, prepared: float, console: Console
) -> None:
    result, manifest = run.read_json("result.json"), recognizer.artifact.manifest
    quantized, costs = result["quantized"], manifest.costs
    assert costs is not None, "an exported artifact was proved"
    clips = quantized["clips_known"] + quantized["clips_unknown"]
    pbs, keys = manifest.circuit.pbs, readable_bytes(costs.evaluation_key_bytes)
    work = (
        f"{pbs} PBS a query; evaluation keys {keys}, sent once"
        if pbs
        else "No PBS, so no evaluation keys"
    )
    console.print(
        f"{right} of {total} right under FHE. On all {clips} test clips the quantized network "
        f"finds {quantized['top1']:.1%} of the known songs\nand rejects "
        f"{quantized['unknown_rejected']:.1%} of the unknown ones; a floating-point twin finds "
        f"{result['float']['top1']:.1%}.\n"
        f"{work}; {costs.compute_seconds:.2f} s on the server, "
        f"{readable_bytes(costs.query_bytes)} up, {readable_bytes(costs.response_bytes)} down.\n"
        f"Songs, training and compilation took {prepared:.0f} s this time.",
        markup=False,
    )
