"""Running features through an artifact's files under real FHE, and in Concrete's simulation."""

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
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
from ..costs import QueryCosts, measure_query
from ..number import Number, classes_of, numbers_of
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
        costs: seconds (medians) and bytes, by name.
    """

    executed: npt.NDArray[Any]
    simulated: npt.NDArray[Any]
    compute_seconds: list[float]
    costs: dict[str, float]


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
    _, key_seconds = timed(client.create_keys)
    uploaded = client.evaluation_keys()
    keys = server.load_keys(uploaded)
    number, songs = client.artifact.number, len(client.artifact.songs)
    decrypt: Callable[[bytes], Any]
    decrypt = client.decrypt_logits if number is None else client.decrypt_number
    earlier = {} if journal is None else journal.read()
    lines = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(features), note="")
        for one in features:
            line = earlier.get(digest_of(one.tobytes()))
            if line is None:
                said, costs = measure_query(
                    lambda one=one: client.encrypt_image(one),
                    lambda query: server.run(query, keys),
                    decrypt,
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
    measured = [QueryCosts(**line["costs"]) for line in lines]
    medians = QueryCosts(*np.median([astuple(costs) for costs in measured], axis=0).tolist())
    said = [np.array([line[name] for line in lines]) for name in ("executed", "simulated")]
    if number is not None:
        said = [classes_of(each, songs) for each in said]
    return Execution(
        said[0],
        said[1],
        [line["costs"]["compute_seconds"] for line in lines],
        {
            **asdict(medians),
            "query_bytes": lines[-1]["costs"]["query_bytes"],
            "response_bytes": lines[-1]["costs"]["response_bytes"],
            "key_seconds": key_seconds,
            "evaluation_key_bytes": len(uploaded),
        },
    )


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
