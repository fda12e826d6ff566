"""The stages of a measurement with random weights, each run in a process of its own.

``python -m hushtune.eval.bench.stages compile FOLDER`` runs one in a folder with a ``task.json``.
The stages exchange files there, and each leaves what it measured in ``STAGE.json``.
"""

import json
import math
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from ...configs.schema import Count
from ...fhe.ciphertexts import Words, restore, truncate
from ...fhe.circuit import LINEAR, Circuit
from ...fhe.encryption import Encryption
from ...fhe.manifest import ArtifactConfig, InputQuantizer
from ...fhe.schemes.concrete import ConcreteClient, Keys
from ...model.features import FEATURE_LIMIT, make_front_end
from ...support.timing import timed
from .processes import peak_bytes

WARM_UP_STEPS = 60
WARM_UP_BATCH = 64


class Task(BaseModel):
    """What the stages of one measurement are told."""

    settings: ArtifactConfig
    songs: Count
    queries: Count


def read_facts(work: Path, stage: str) -> dict[str, Any]:
    """What a stage measured, by the names of `CostRow`."""
    facts: dict[str, Any] = json.loads((work / f"{stage}.json").read_text("utf-8"))
    return facts


def _images(task: Task, count: int, seed: int) -> torch.Tensor:
    """What standardised images look like: float32 [count, channels, bands, columns]."""
    shape = make_front_end(task.settings.signal, task.settings.spectrum).feature_shape
    inputs = task.settings.network.inputs
    if inputs is not None and inputs < math.prod(shape):
        shape = (inputs, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, *shape), generator=generator)
    return images.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)


def compile_stage(task: Task, work: Path) -> dict[str, Any]:
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
    shape = images.shape[1], images.shape[2], images.shape[3]
    twin, network = (
        Network(settings.network, shape, task.songs + 1, quantized=quantized)
        for quantized in (False, True)
    )
    network.load_from_float(twin, images)
    with torch.no_grad():
        # trained logits have a wider range than random ones: one row of weights that add up gives
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
        "compile_peak_bytes": peak_bytes(),
        "client_zip_bytes": (work / "encryption").stat().st_size,
        "server_zip_bytes": sum(
            path.stat().st_size for path in (parts / "server.zip", parts / LINEAR) if path.exists()
        ),
    }


def _encryption(work: Path) -> Encryption:
    return Encryption.model_validate_json((work / "encryption").read_bytes())


def encrypt_stage(task: Task, work: Path) -> dict[str, Any]:
    """The client's first half: create keys, encrypt the queries."""
    client = ConcreteClient(_encryption(work))
    quantizer = InputQuantizer.model_validate_json((work / "quantizer").read_bytes())
    keys, key_seconds = timed(client.create_keys)
    evaluation_keys = keys.evaluation_keys()
    (work / "evaluation-keys").write_bytes(evaluation_keys)

    def encrypted(image: NDArray[np.float32]) -> bytes:
        return client.encrypt(keys, quantizer.quantize(image[None])).tobytes()

    seconds = []
    for number, image in enumerate(_images(task, task.queries, WARM_UP_STEPS + 1).numpy()):
        query, encrypt = timed(partial(encrypted, image))
        (work / f"query-{number}").write_bytes(query)
        seconds.append(encrypt)
    (work / "keys").write_bytes(keys.serialize())
    return {
        "key_seconds": key_seconds,
        "evaluation_key_bytes": len(evaluation_keys),
        "encrypt_seconds": median(seconds),
        "query_bytes": len(query),
        "client_peak_bytes": peak_bytes(),
    }


def serve_stage(task: Task, work: Path) -> dict[str, Any]:
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
        response, compute = timed(partial(answer, query))
        cpu_seconds.append(time.process_time() - before)
        seconds.append(compute)
        (work / f"response-{number}").write_bytes(response)
    measured = {
        "server_load_seconds": load_seconds,
        "key_load_seconds": key_load_seconds,
        "first_compute_seconds": first_seconds,
        "compute_seconds": median(seconds),
        "compute_cpu_seconds": median(cpu_seconds),
        "response_bytes": len(response),
        "server_peak_bytes": peak_bytes(),
    }
    if linear:
        concrete = Circuit(parts, encryption, linear=False)
        answer(queries[0], concrete)
        seconds = [timed(partial(answer, query, concrete))[1] for query in queries]
        measured["concrete_seconds"] = median(seconds)
    return measured


def decrypt_stage(task: Task, work: Path) -> dict[str, Any]:
    """The client's second half: decrypt the responses with the keys it made."""
    encryption = _encryption(work)
    client, bits = ConcreteClient(encryption), task.settings.fhe.response_bits
    keys = Keys.deserialize((work / "keys").read_bytes())

    def decrypted(response: bytes) -> NDArray[np.int64]:
        return client.decrypt(keys, restore(response, encryption.response_words, bits))

    seconds = []
    for number in range(task.queries):
        response = (work / f"response-{number}").read_bytes()
        logits, decrypt = timed(partial(decrypted, response))
        if logits.shape != (1, task.songs + 1):
            raise RuntimeError(f"logits of shape {logits.shape} for {task.songs} songs")
        seconds.append(decrypt)
    earlier = read_facts(work, "encrypt")["client_peak_bytes"]
    return {
        "decrypt_seconds": median(seconds),
        "client_peak_bytes": max(earlier, peak_bytes()),
    }


STAGES = {
    "compile": compile_stage,
    "encrypt": encrypt_stage,
    "serve": serve_stage,
    "decrypt": decrypt_stage,
}


def main() -> None:
    """Run one stage in a folder that holds a ``task.json``."""
    stage, work = sys.argv[1], Path(sys.argv[2])
    task = Task.model_validate_json((work / "task.json").read_bytes())
    (work / f"{stage}.json").write_text(json.dumps(STAGES[stage](task, work)), "utf-8")


if __name__ == "__main__":
    main()
