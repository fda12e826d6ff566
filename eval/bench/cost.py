"""What a query costs under real FHE, against the size of the catalogue and the number of cores.

The weights are random, not trained: costs depend on the network's shape and bits and on the
``fhe`` settings, not on what it has learned.
Compiler, client and server each run in processes of their own, which exchange files, so that
every peak of memory is one role's.

Measuring again reuses the rows in the folder. One stage can be run by hand in a folder that
holds a ``task.json``: ``python -m hushtune.eval.bench.cost compile FOLDER``.
"""

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...configs.schema import Config
from ...fhe.ciphertexts import Words, restore, truncate
from ...fhe.circuit import LINEAR, Circuit
from ...fhe.manifest import ArtifactConfig, InputQuantizer
from ...fhe.parameters import Encryption
from ...fhe.schemes.concrete import ConcreteClient, Keys
from ...model.features import FEATURE_LIMIT, make_front_end
from ...support.errors import ConfigError
from ...support.files import write_atomically
from ...support.timing import timed
from ...support.units import readable_bytes, readable_seconds

SCALING_SONGS = 400
"""The first catalogue of at least so many songs is measured on every number of cores."""
WARM_UP_STEPS = 60
WARM_UP_BATCH = 64
MEASUREMENT = 2
"""Raised when the same settings are computed or timed in another way."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Concrete's compiled circuits run in OpenMP threads, matrix products in OpenBLAS's, Concrete's key
generation in Rayon's; all start one for each core the process may use, unless an inherited variable
says otherwise."""

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
    """Table look-ups (programmable bootstrappings) a query."""
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
    """Opening the server's part once; with look-ups its code is compiled for this machine."""
    key_load_seconds: float | None = None
    """Opening the evaluation keys, once a client."""
    first_compute_seconds: float | None = None
    """The server's first query with these keys. Evaluation keys for look-ups it prepares then,
    mostly on one core."""
    compute_seconds: float | None = None
    """The server's work on a later query: reading it, computing, serializing the response."""
    compute_cpu_seconds: float | None = None
    """The same in processor time over all threads: steadier than the clock on a busy machine;
    divided by `compute_seconds` it tells how many cores were really had."""
    concrete_seconds: float | None = None
    """What `compute_seconds` is if Concrete's own code computes a circuit without look-ups, on the
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


class Task(BaseModel):
    """What the stages of one measurement are told."""

    settings: ArtifactConfig
    songs: Count
    queries: Count


def measure_costs(
    config: Config,
    classes: Sequence[int],
    folder: Path,
    *,
    cores: Sequence[int] | None = None,
    queries: int = 3,
    announce: Callable[[str], None] = print,
) -> list[dict]:
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
        announce: told in one line each what happens.

    Returns:
        A `CostRow` each as a dict, in the order of `classes` and then of rising cores. A stage that
        failed leaves its reason in ``error``.

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
    rows = []
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
        rows += [found[count].model_dump(mode="json") for count in paths]
    return rows


def _core_counts(wanted: Sequence[int] | None) -> list[int]:
    available = len(os.sched_getaffinity(0))
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
        common = {"songs": task.songs, "queries": task.queries, "client_cores": client_cores}
        for stage in ("compile", "encrypt"):
            common |= _run(stage, work, client_cores, common)
        decrypted: dict = {}  # once: a response is the same whatever cores it was made on
        for count in cores:
            row = {**common, "cores": count}
            row |= _run("serve", work, count, row)
            decrypted = decrypted or _run("decrypt", work, client_cores, row)
            yield CostRow(**(row | decrypted))


def _run(stage: str, work: Path, cores: int, before: dict) -> dict:
    """Run one stage in a process of its own, unless an earlier one failed.

    Returns:
        What it measured, by the names of `CostRow`, or its ``error``.
    """
    if "error" in before:
        return {}
    command = [sys.executable, "-m", "hushtune.eval.bench.cost", stage, str(work)]
    done = run_on(cores, command)
    if done.returncode == 0:
        return _facts(work, stage)
    return {"error": f"{stage}: {_reason(done.returncode, done.stderr)}"}


def run_on(cores: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command with so many cores and threads, its output captured."""
    environment = os.environ | {name: str(cores) for name in THREAD_VARIABLES}
    with _pinned(cores):
        return subprocess.run(command, env=environment, capture_output=True, text=True)


@contextmanager
def _pinned(cores: int) -> Iterator[None]:
    """Processes started within inherit so many cores from this thread, before any import."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


def _reason(code: int, errors: str) -> str:
    """Why a process failed, from its exit code and what it wrote to standard error."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["no message"]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    last = (raised or lines)[-1].strip()
    last = re.sub(r"^(?:\w+\.)+(?=\w+:)", "", last)
    if code == -signal.SIGKILL:
        return "killed, most likely because memory ran out"
    return f"ended by {signal.Signals(-code).name}: {last}" if code < 0 else last


def _facts(work: Path, stage: str) -> dict:
    return json.loads((work / f"{stage}.json").read_text("utf-8"))


def _peak_bytes() -> int:
    """Peak resident memory of this process.

    Not ``ru_maxrss``: that is inherited from the process which started this one.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def _median(seconds: list[float]) -> float:
    return float(np.median(seconds))


def _images(task: Task, count: int, seed: int) -> torch.Tensor:
    """What standardised images look like: float32 [count, channels, bands, columns]."""
    shape = make_front_end(task.settings.signal, task.settings.spectrum).feature_shape
    inputs = task.settings.network.inputs
    if inputs is not None and inputs < math.prod(shape):
        shape = (inputs, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, *shape), generator=generator)
    return images.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)


def compile_stage(task: Task, work: Path) -> dict:
    """Compile a network of random weights and write what client and server need."""
    # here, for client and server shall not carry the trainer in their memory
    from ...fhe.export.circuit import input_quantizer, save_circuit
    from ...fhe.export.compile import compile_network
    from ...fhe.export.listed import encryption_of
    from ...fhe.export.matrix import PROOFS, add_matrix
    from ...model.network import Network

    settings = task.settings
    torch.manual_seed(0)
    images = _images(task, WARM_UP_BATCH, 0)
    twin, network = (
        Network(settings.network, images.shape[1:], task.songs + 1, quantized=quantized)
        for quantized in (False, True)
    )
    network.load_from_float(twin, images)
    with torch.no_grad():
        # trained logits reach further than random ones: one row of weights that add up gives
        # the circuit the width, keys and cost of a trained network's
        network.head.weight[0].abs_()
    network.train()
    with torch.no_grad():
        for step in range(WARM_UP_STEPS):
            network(_images(task, WARM_UP_BATCH, step))
    calibration = _images(task, settings.fhe.calibration_clips, WARM_UP_STEPS).numpy()
    module, seconds = timed(lambda: compile_network(network, calibration, settings.fhe))
    parts = work / "parts"
    parts.mkdir()
    save_circuit(module, parts / "server.zip")
    encryption = encryption_of(module)
    (work / "encryption").write_text(encryption.model_dump_json(), "utf-8")
    (work / "quantizer").write_text(input_quantizer(module).model_dump_json(), "utf-8")
    add_matrix(module, encryption, calibration[:PROOFS], parts)
    circuit = module.fhe_circuit
    return {
        "pbs": circuit.programmable_bootstrap_count,
        "widest_bits": circuit.graph.maximum_integer_bit_width(),
        "compile_seconds": seconds,
        "compile_peak_bytes": _peak_bytes(),
        "client_zip_bytes": (work / "encryption").stat().st_size,
        "server_zip_bytes": sum(
            path.stat().st_size for path in (parts / "server.zip", parts / LINEAR) if path.exists()
        ),
    }


def _encryption(work: Path) -> Encryption:
    return Encryption.model_validate_json((work / "encryption").read_bytes())


def encrypt_stage(task: Task, work: Path) -> dict:
    """The client's first half: create keys, encrypt the queries."""
    client = ConcreteClient(_encryption(work))
    quantizer = InputQuantizer.model_validate_json((work / "quantizer").read_bytes())
    keys, key_seconds = timed(client.create_keys)
    evaluation_keys = keys.evaluation_keys()
    (work / "evaluation-keys").write_bytes(evaluation_keys)
    seconds = []
    for number, image in enumerate(_images(task, task.queries, WARM_UP_STEPS + 1).numpy()):
        query, encrypt = timed(
            lambda image=image: client.encrypt(keys, quantizer.quantize(image[None])).tobytes()
        )
        (work / f"query-{number}").write_bytes(query)
        seconds.append(encrypt)
    (work / "keys").write_bytes(keys.serialize())
    return {
        "key_seconds": key_seconds,
        "evaluation_key_bytes": len(evaluation_keys),
        "encrypt_seconds": _median(seconds),
        "query_bytes": len(query),
        "client_peak_bytes": _peak_bytes(),
    }


def serve_stage(task: Task, work: Path) -> dict:
    """The server: open its part and the evaluation keys, compute the responses."""
    from ...fhe import runtime  # noqa: F401 - so that a failure has an exit code

    parts = work / "parts"
    linear = (parts / LINEAR).exists()
    encryption = _encryption(work)
    circuit, load_seconds = timed(lambda: Circuit(parts, encryption, linear=linear))
    uploaded = (work / "evaluation-keys").read_bytes()
    keys, key_load_seconds = timed(lambda: circuit.load_keys(uploaded))
    queries = [np.fromfile(work / f"query-{number}", "<u8") for number in range(task.queries)]

    def answer(query: Words, circuit: Circuit = circuit) -> bytes:
        return truncate(circuit.run(query, keys), task.settings.fhe.response_bits)

    _, first_seconds = timed(lambda: answer(queries[0]))
    seconds, cpu_seconds = [], []
    for number, query in enumerate(queries):
        before = time.process_time()
        response, compute = timed(lambda query=query: answer(query))
        cpu_seconds.append(time.process_time() - before)
        seconds.append(compute)
        (work / f"response-{number}").write_bytes(response)
    measured = {
        "server_load_seconds": load_seconds,
        "key_load_seconds": key_load_seconds,
        "first_compute_seconds": first_seconds,
        "compute_seconds": _median(seconds),
        "compute_cpu_seconds": _median(cpu_seconds),
        "response_bytes": len(response),
        "server_peak_bytes": _peak_bytes(),
    }
    if linear:
        concrete = Circuit(parts, encryption, linear=False)
        answer(queries[0], concrete)
        seconds = [timed(lambda query=query: answer(query, concrete))[1] for query in queries]
        measured["concrete_seconds"] = _median(seconds)
    return measured


def decrypt_stage(task: Task, work: Path) -> dict:
    """The client's second half: decrypt the responses with the keys it made."""
    encryption = _encryption(work)
    client, bits = ConcreteClient(encryption), task.settings.fhe.response_bits
    keys = Keys.deserialize((work / "keys").read_bytes())
    seconds = []
    for number in range(task.queries):
        response = (work / f"response-{number}").read_bytes()
        logits, decrypt = timed(
            lambda response=response: client.decrypt(
                keys, restore(response, encryption.response_words, bits)
            )
        )
        if logits.shape != (1, task.songs + 1):
            raise RuntimeError(f"logits of shape {logits.shape} for {task.songs} songs")
        seconds.append(decrypt)
    earlier = _facts(work, "encrypt")["client_peak_bytes"]
    return {
        "decrypt_seconds": _median(seconds),
        "client_peak_bytes": max(earlier, _peak_bytes()),
    }


STAGES = {
    "compile": compile_stage,
    "encrypt": encrypt_stage,
    "serve": serve_stage,
    "decrypt": decrypt_stage,
}


def main() -> None:
    """Run one stage: ``python -m hushtune.eval.bench.cost STAGE FOLDER``."""
    stage, work = sys.argv[1], Path(sys.argv[2])
    task = Task.model_validate_json((work / "task.json").read_bytes())
    (work / f"{stage}.json").write_text(json.dumps(STAGES[stage](task, work)), "utf-8")


if __name__ == "__main__":
    main()
