"""Running features through an artifact's files under real FHE, and in Concrete's simulation."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from concrete.ml.quantization import QuantizedModule

from ...support.journal import Journal, digest_of
from ...support.progress import progress_bar
from ...support.timing import timed
from ...support.units import readable_seconds
from ..client import Client
from ..costs import measure_query
from ..manifest import ArtifactCosts
from ..number import Number, numbers_of
from ..server import Server

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Execution:
    """What clips gave under real FHE and in its simulation.

    Attributes:
        executed: under real FHE: logits, float [clips, classes]; or, of a circuit that ends in the
            song's number, the class that it means, int [clips].
        simulated: in Concrete's simulation, likewise.
        compute_seconds: of the server, for each clip.
        costs: seconds (medians) and bytes.
    """

    executed: npt.NDArray[Any]
    simulated: npt.NDArray[Any]
    compute_seconds: list[float]
    costs: ArtifactCosts


def execute(
    folder: Path,
    module: QuantizedModule,
    features: Features,
    *,
    title: str,
    journal: Journal | None = None,
) -> Execution:
    """Run features under real FHE through an artifact's files, with fresh keys, and simulated.

    Args:
        folder: of the artifact.
        module: the one it was written from, for the simulation.
        features: float32 [clips, channels, bands, columns].
        title: shown beside the progress bar.
        journal: keeps the answers as they come; those it holds are not computed again.
    """
    client, server = Client(folder), Server(folder)
    number, keys, key_seconds, uploaded = client.artifact.manifest.number, None, 0.0, b""
    if not client.fresh_keys:
        key_seconds = timed(client.create_keys)[1]
        uploaded = client.evaluation_keys()
        keys = server.load_keys(uploaded)
    earlier = {} if journal is None else journal.read()
    lines = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(features), note="")
        for one in features:
            line = earlier.get(digest_of(one.tobytes()))
            if line is None:
                said, costs = measure_query(
                    partial(client.encrypt_features, one),
                    lambda query: server.run(query, keys),
                    client.decrypt_values,
                )
                line = {
                    "executed": np.asarray(said).tolist(),
                    "simulated": np.asarray(simulate(module, one, number)).tolist(),
                    "costs": asdict(costs),
                }
                if journal is not None:
                    journal.add(one, line)
            lines.append(line)
            seconds = line["costs"]["compute_seconds"]
            bar.update(task, advance=1, note=f"{readable_seconds(seconds)} a query")
    executed, simulated = (
        np.array([line[name] for line in lines]) for name in ("executed", "simulated")
    )
    if number is not None:
        head = client.artifact.head
        executed, simulated = (head.classes(list(said)) for said in (executed, simulated))
    measured = {name: [line["costs"][name] for line in lines] for name in lines[0]["costs"]}
    medians = {name: float(np.median(values)) for name, values in measured.items()}
    proved = ArtifactCosts(
        key_seconds=key_seconds,
        evaluation_key_bytes=len(uploaded),
        encrypt_seconds=medians["encrypt_seconds"],
        compute_seconds=medians["compute_seconds"],
        decrypt_seconds=medians["decrypt_seconds"],
        query_bytes=measured["query_bytes"][-1],
        response_bytes=measured["response_bytes"][-1],
    )
    return Execution(executed, simulated, measured["compute_seconds"], proved)


def simulate(
    module: QuantizedModule, features: Features, number: Number | None
) -> npt.NDArray[np.float64] | int:
    """What Concrete's simulation of a circuit says: logits [classes], or the song's number.

    Args:
        module: compiled.
        features: of a clip, float32 [channels, bands, columns].
        number: how the circuit finds the song's number; None where it ends in the logits.
    """
    if number is None:
        return np.asarray(module.forward(features[None], fhe="simulate").reshape(-1))
    digits = module.fhe_circuit.simulate(module.quantize_input(features[None]))
    return int(numbers_of(np.asarray(digits))[0])
