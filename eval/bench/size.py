"""What a query costs under real FHE, against the size of the catalogue and the number of cores.

The weights are random, not trained: costs depend on the network's shape and bits and on the
``fhe`` settings, not on what it has learned.
Compiler, client and server each run in processes of their own, which exchange files, so that
every peak of memory is one role's.

Measuring again reuses the rows in the folder.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...configs.schema import Config
from ...fhe.manifest import ArtifactConfig
from ...support.errors import ConfigError
from ...support.files import write_atomically
from ...support.machine import available_cores
from ...support.units import readable_bytes, readable_seconds
from .processes import run_module
from .stages import Task, read_facts

SCALING_SONGS = 400
"""The first catalogue of at least so many songs is measured on every number of cores."""
MEASUREMENT = 2
"""Raised when the same settings are computed or timed in another way."""
Count = Annotated[int, Field(strict=True, ge=1)]


class CostRow(BaseModel):
    """The costs of one catalogue size on one number of cores; None where a stage failed.

    All weights are random. A time is wall clock, of a query the median over all of them. A peak
    is the most memory a process of that role ever had resident, its 650 MB of imported libraries
    included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    songs: Count
    """Songs in the catalogue; the network has one logit more."""
    cores: Count
    """Cores the server was pinned to; it had as many threads."""
    client_cores: Count
    """Cores the compiler and the client were pinned to, likewise."""
    queries: Count
    """Queries measured."""
    weights: Literal["random"] = "random"
    """Where the network's weights come from."""
    pbs: int | None = None
    """Programmable bootstrappings a query."""
    widest_bits: int | None = None
    """Bits of the circuit's widest value."""
    compile_seconds: float | None = None
    """Compiling, without building the network and without writing the parts."""
    compile_peak_bytes: int | None = None
    """Peak memory of the compiling process."""
    client_zip_bytes: int | None = None
    """Size of the client's part of the artifact."""
    server_zip_bytes: int | None = None
    """Size of the server's part of the artifact, all its files."""
    key_seconds: float | None = None
    """Creating the private and the evaluation keys."""
    evaluation_key_bytes: int | None = None
    """Evaluation keys as uploaded, once."""
    encrypt_seconds: float | None = None
    """Quantizing, encrypting and serializing an image."""
    query_bytes: int | None = None
    """An encrypted image."""
    server_load_seconds: float | None = None
    """Opening the server's part once; with PBS its code is compiled for this machine."""
    key_load_seconds: float | None = None
    """Opening the evaluation keys, once a client."""
    first_compute_seconds: float | None = None
    """The server's first query with these keys. Evaluation keys for PBS are prepared then,
    mostly on one core."""
    compute_seconds: float | None = None
    """The server's work on a later query: reading it, computing, serializing the response."""
    compute_cpu_seconds: float | None = None
    """The same in processor time over all threads: steadier than the clock on a busy machine;
    divided by `compute_seconds` it tells how many cores were really had."""
    concrete_seconds: float | None = None
    """What `compute_seconds` is if Concrete's own code computes a circuit without PBS, on the
    same queries in the same process, afterwards; None for circuits that it computes anyway."""
    response_bytes: int | None = None
    """An encrypted response."""
    server_peak_bytes: int | None = None
    """Peak memory of the server."""
    decrypt_seconds: float | None = None
    """Reading and decrypting a response."""
    client_peak_bytes: int | None = None
    """Peak memory of the client, over creating keys, encrypting and decrypting."""
    error: str | None = None
    """What failed, in one line; such a row is not kept but measured again next time."""


def measure_costs(
    config: Config,
    classes: Sequence[int],
    folder: Path,
    *,
    cores: Sequence[int] | None = None,
    queries: int = 3,
    announce: Callable[[str], None] = print,
) -> list[CostRow]:
    """Measure real FHE with random weights; costs depend on shape and bits only.

    One size (the first of at least `SCALING_SONGS`, else the largest) is measured on every number
    of cores, the others on the largest number alone. Finished rows are JSON files in `folder`,
    and are reused if they rest on at least as many queries.

    Args:
        config: its network, spectrum, signal and fhe sections count.
        classes: numbers of songs; each network has one logit more, for "unknown".
        folder: where rows are kept, and large temporary files meanwhile.
        cores: numbers of cores; the powers of two that are available and all of them where None.
        queries: how many to time.
        announce: called with one-line progress messages.

    Returns:
        Rows in the order of `classes` and then of rising cores. A stage that failed leaves its
        reason in ``error``.

    Raises:
        ConfigError: a number of songs, cores or queries that cannot be measured.
    """
    counts = _core_counts(cores)
    if not classes or min(classes) < 1 or queries < 1:
        raise ConfigError(
            f"classes={list(classes)}, queries={queries}: at least one song and one query each."
        )
    settings = ArtifactConfig(
        signal=config.signal, spectrum=config.spectrum, network=config.network, fhe=config.fhe
    )
    key = f"{MEASUREMENT} {settings.model_dump_json()}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    scaling = next((songs for songs in classes if songs >= SCALING_SONGS), max(classes))
    rows: list[CostRow] = []
    for songs in classes:
        paths = {
            count: folder / f"cost-{songs}-songs-{count}-cores-{digest}.json"
            for count in (counts if songs == scaling else counts[-1:])
        }
        found = {count: row for count, path in paths.items() if (row := _stored(path, queries))}
        missing = [count for count in paths if count not in found]
        task = Task(settings=settings, songs=songs, queries=queries)
        for row in _measure(task, missing, counts[-1], folder) if missing else ():
            announce(_summary(row))
            if row.error is None:
                write_atomically(paths[row.cores], row.model_dump_json(indent=1).encode())
            found[row.cores] = row
        rows += [found[count] for count in paths]
    return rows


def _core_counts(wanted: Sequence[int] | None) -> list[int]:
    available = len(available_cores())
    if wanted is None:
        powers = [2**n for n in range(available.bit_length())]
        return sorted({*powers, available})
    if not wanted or not all(1 <= count <= available for count in wanted):
        raise ConfigError(
            f"cores={list(wanted)}: give numbers from 1 to the {available} there are."
        )
    return sorted(set(wanted))


def _stored(path: Path, queries: int) -> CostRow | None:
    """A finished row that rests on enough queries and has today's fields."""
    try:
        row = CostRow.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return row if row.queries >= queries else None


def _summary(row: CostRow) -> str:
    place = f"{row.songs} songs, {row.cores} core{'s' * (row.cores > 1)}"
    if row.error is not None:
        return f"{place}: {row.error}"
    assert row.compute_seconds and row.response_bytes
    assert row.server_peak_bytes and row.client_peak_bytes
    return (
        f"{place}: {readable_seconds(row.compute_seconds)} a query, "
        f"{readable_bytes(row.response_bytes)} back, "
        f"server {readable_bytes(row.server_peak_bytes)}, "
        f"client {readable_bytes(row.client_peak_bytes)}."
    )


def _measure(
    task: Task, cores: Iterable[int], client_cores: int, folder: Path
) -> Iterator[CostRow]:
    """Compile once, encrypt once, serve on every number of cores; a row as each is done."""
    with TemporaryDirectory(prefix="cost-", dir=folder) as name:
        work = Path(name)
        (work / "task.json").write_text(task.model_dump_json(), "utf-8")
        common: dict[str, Any] = {
            "songs": task.songs,
            "queries": task.queries,
            "client_cores": client_cores,
        }
        for stage in ("compile", "encrypt"):
            common |= _run(stage, work, client_cores, common)
        decrypted: dict[str, Any] = {}  # once: a response is the same whatever cores it was made on
        for count in cores:
            row = {**common, "cores": count}
            row |= _run("serve", work, count, row)
            decrypted = decrypted or _run("decrypt", work, client_cores, row)
            yield CostRow(**(row | decrypted))


def _run(stage: str, work: Path, cores: int, before: dict[str, Any]) -> dict[str, Any]:
    """Run one stage in a process of its own, unless an earlier one failed.

    Returns:
        What it measured, by the names of `CostRow`, or its ``error``.
    """
    if "error" in before:
        return {}
    done = run_module(cores, "hushtune.eval.bench.stages", stage, str(work))
    return {"error": f"{stage}: {done.reason}"} if done.reason else read_facts(work, stage)
