"""A tiny catalogue, its runs and artifacts that the tests share: real parts, small sizes.

Training and compiling take most of a minute each, so what they give is kept between test sessions
(`kept`): in pytest's cache folder, or in ``$HUSHTUNE_TEST_CACHE``, under a hash of the sources,
settings and versions that shape it. Every session works on a copy of its own.
"""

import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path

# Before a library starts its threads: equal runs need equal numbers of them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["LOKY_MAX_CPU_COUNT"] = "1"

import numpy as np
import pytest

from hushtune.configs.loading import parse_config

ROOT = Path(__file__).parents[1]
KEPT_DAYS = 7
"""What no session used for so long is removed from the cache."""
RUN_SOURCES = ("support", "configs", "model", "training", "eval/*.py")
"""Rooms (all their modules) and patterns of the modules that shape a trained run."""
ARTIFACT_SOURCES = (*RUN_SOURCES, "fhe")
LONG = ("tests/hushtune/service", "tests/docs/test_tutorial.py", "tests/eval", "tests/fhe")
"""What takes longest, as beginnings of paths: two processes that begin with it end together."""

TINY = {
    "name": "tiny",
    "seed": 3,
    "catalogue": {"kind": "composed", "tracks": 14, "seconds": 12},
    "split": {"known_unknowns": 4, "unknown_test": 4},
    "signal": {"crop_seconds": 4, "bands": 32, "f_min_hz": 150},
    "spectrum": {"kind": "modulation", "window_seconds": 2, "bins": 4, "distances": [1]},
    "augment": {"speed_percent": 0.5, "reverb": 0.3, "codec": 0.1, "test_snr_db": [10, 20]},
    "network": {
        "layers": [{"kind": "conv", "channels": 6, "kernel": [16, 4], "stride": [8, 1]}],
        "input_bits": 4,
        "head_bits": 3,
        "rounding_bits": 5,
    },
    "training": {
        "views": 3,
        "view_seconds": 12,
        "float_steps": 200,
        "quantized_steps": 200,
        "quantized_learning_rate": 1e-3,
        "batch_size": 32,
        "checkpoint_every": 50,
        "examples": 3000,
        "short_clip_share": 0.0,
        "decision_clips": 160,
        "false_alarm_rate": 0.02,
    },
    "fhe": {"calibration_clips": 50, "check_clips": 4, "tolerance": 0.5},
}


def tiny_settings(**changes: object) -> dict:
    """The tiny configuration as YAML would give it, with some keys changed."""
    return {**TINY, **changes}


@pytest.fixture(scope="session", name="tiny_settings")
def _tiny_settings():
    """Makes the tiny configuration's settings, with some keys changed."""
    return tiny_settings


class Kept:
    """Makes folders once for all sessions, and gives each session copies of its own."""

    def __init__(self, root: Path):
        self.root = root

    def __call__(
        self,
        name: str,
        make: Callable[[Path], object],
        *,
        to: Path,
        sources: tuple[str, ...] = ARTIFACT_SOURCES,
        settings: object = None,
    ) -> Path:
        """Copy into the folder `to` what ``make(folder)`` writes into an empty one.

        It is called only where no earlier session with equal sources, settings (anything with a
        stable `repr`) and versions did so. Processes wait for each other, and what was
        interrupted is made again.
        """
        folder = self.root / f"{name}-{_key(sources, settings)}"
        making = folder.with_suffix(".making")
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if not folder.is_dir():
                self._remove_unused()
                shutil.rmtree(making, ignore_errors=True)
                making.mkdir()
                make(making)
                making.rename(folder)
        os.utime(folder)
        shutil.copytree(folder, to, symlinks=True, dirs_exist_ok=True)
        for path in (p for p in to.rglob("*") if p.suffix in (".json", ".yaml")):
            text = path.read_text("utf-8")
            if str(making) in text:  # a run's split names its tracks' files
                path.write_text(text.replace(str(making), str(to)), "utf-8")
        return to

    def _remove_unused(self) -> None:
        oldest = time.time() - KEPT_DAYS * 86_400
        for folder in self.root.iterdir():
            if folder.is_dir() and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_suffix(".lock").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def kept(request) -> Kept:
    """Keeps what takes long to make, see `Kept`."""
    root = os.environ.get("HUSHTUNE_TEST_CACHE") or request.config.cache.mkdir("hushtune")
    return Kept(Path(root).resolve())


def _key(sources: tuple[str, ...], settings: object) -> str:
    """Hash of what shapes a kept folder."""
    digest = hashlib.sha256()
    for source in sources:
        folder = ROOT / source
        patterns = ("*.py", "*.j2")
        paths = [p for kind in patterns for p in folder.rglob(kind)] if folder.is_dir() else []
        paths = paths or list(ROOT.glob(source))
        for path in sorted(paths):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    names = [re.match(r"[\w.-]+", line)[0] for line in requires("hushtune") if ";" not in line]
    versions = {name: version(name) for name in (*names, "concrete-python")}
    digest.update(json.dumps([sys.version, versions, repr(settings)]).encode())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return parse_config(tiny_settings(runs=str(folder / "runs")), name="tiny", folder=folder)


@pytest.fixture(scope="session")
def tiny_run(tiny_config, kept):
    """A trained run."""
    from hushtune.training.run import Run

    kept(
        "tiny-run",
        lambda folder: _trained(tiny_config.model_copy(update={"runs": folder})),
        to=tiny_config.runs,
        sources=RUN_SOURCES,
        settings=_settings_of(tiny_config),
    )
    return Run(tiny_config.runs / "tiny", tiny_config)


@pytest.fixture(scope="session")
def linear_run(tiny_run, kept):
    """A trained run without hidden layers, as the shipped configurations are."""
    from hushtune.training.run import Run

    network = {"layers": (), "inputs": 200, "input_bits": 6, "head_bits": 6}
    config = parse_config(
        {
            **tiny_run.config.model_dump(mode="json"),
            "name": "linear",
            "network": {**tiny_run.config.network.model_dump(mode="json"), **network},
            "enrolment": {"row_seconds": 4},  # three rows a song
        },
        name="linear",
        folder=tiny_run.config.runs.parent,
    )

    def make(folder: Path) -> None:
        shutil.copytree(tiny_run.cache, folder / ".cache")  # the songs and their noise
        _trained(config.model_copy(update={"runs": folder}))

    kept("linear-run", make, to=config.runs, sources=RUN_SOURCES, settings=_settings_of(config))
    return Run(config.runs / "linear", config)


def _settings_of(config) -> str:
    return config.model_dump_json(exclude={"runs"})


def _trained(config) -> None:
    from hushtune.eval.accuracy import evaluate_run
    from hushtune.training.trainer import train

    evaluate_run(train(config))


@pytest.fixture(scope="session")
def tiny_artifact(tiny_run, kept) -> Path:
    """A compiled, proved artifact of the run with a hidden layer. Change copies of it only."""
    return _artifact_of(tiny_run, kept)


@pytest.fixture(scope="session")
def linear_artifact(linear_run, kept) -> Path:
    """A compiled, proved artifact of the run without hidden layers. Change copies of it only."""
    return _artifact_of(linear_run, kept)


def _artifact_of(run, kept: Kept) -> Path:
    def make(folder: Path) -> None:
        from hushtune.fhe.export.artifact import export

        export(run, folder / "artifact")

    kept(f"{run.config.name}-artifact", make, to=run.folder, settings=_settings_of(run.config))
    return run.path("artifact")


@pytest.fixture(scope="session")
def tiny_clips(tiny_run, kept, tmp_path_factory) -> list[tuple[str, Path]]:
    """(expected name or "unknown", path) of some noisy clips."""

    def make(folder: Path) -> None:
        from hushtune.training.data.clips import write_clips

        write_clips(tiny_run, folder, known=3, unknown=1)

    folder = kept(
        "tiny-clips",
        make,
        to=tmp_path_factory.mktemp("clips"),
        sources=RUN_SOURCES,
        settings=_settings_of(tiny_run.config),
    )
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        return [(row["expected"], folder / row["clip"]) for row in csv.DictReader(file)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first; `make test` runs each module in one process (``loadfile``)."""
    items.sort(key=lambda item: not _module(item).startswith(LONG))


def _module(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()


@pytest.fixture(autouse=True)
def _own_key_folder(tmp_path_factory, monkeypatch):
    """Keys made by a test never land in the developer's own data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def tone():
    """Ten seconds of a chord with a beat at 16 kHz: float32 [160000]."""
    time = np.arange(160_000) / 16_000
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330, 880, 1500))
    return (0.1 * chord * (1 + np.sin(2 * np.pi * 1.7 * time))).astype(np.float32)


def pytest_report_header() -> str:
    """Say whether the real corpus is there."""
    state = "present" if (ROOT / "../shared/corpus").is_dir() else "absent: its tests are skipped"
    return f"real corpus: {state}; cores: {os.cpu_count()}"
