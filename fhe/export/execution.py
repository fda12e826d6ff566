"""Running images through an artifact's files under real FHE, and in Concrete's simulation."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from concrete.ml.quantization import QuantizedModule

from ...support.journal import Journal, digest_of
from ...support.progress import progress_bar
from ...support.timing import timed
from ...support.units import readable_seconds
from ..client import Client
from ..costs import QueryCosts, measure_query
from ..manifest import ArtifactCosts
from ..number import Number, numbers_of
from ..server import Server


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

    executed: np.ndarray
    simulated: np.ndarray
    compute_seconds: list[float]
    costs: ArtifactCosts


def execute(
    folder: Path,
    module: QuantizedModule,
    images: np.ndarray,
    *,
    title: str,
    journal: Journal | None = None,
) -> Execution:
    """Run images under real FHE through an artifact's files, with fresh keys, and simulated.

    Args:
        folder: of the artifact.
        module: the one it was written from, for the simulation.
        images: float32 [clips, channels, bands, columns].
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
        task = bar.add_task(title, total=len(images), note="")
        for image in images:
            line = earlier.get(digest_of(image.tobytes()))
            if line is None:
                said, costs = measure_query(
                    lambda image=image: client.encrypt_features(image),
                    lambda query: server.run(query, keys),
                    client.decrypt_values,
                )
                line = {
                    "executed": np.asarray(said).tolist(),
                    "simulated": np.asarray(simulate(module, image, number)).tolist(),
                    "costs": asdict(costs),
                }
                if journal is not None:
                    journal.add(image, line)
            lines.append(line)
            taken = line["costs"]["compute_seconds"]
            bar.update(task, advance=1, note=f"{readable_seconds(taken)} a query")
    measured = [QueryCosts(**line["costs"]) for line in lines]
    costs = ArtifactCosts(
        key_seconds=key_seconds,
        encrypt_seconds=median(each.encrypt_seconds for each in measured),
        compute_seconds=median(each.compute_seconds for each in measured),
        decrypt_seconds=median(each.decrypt_seconds for each in measured),
        evaluation_key_bytes=len(uploaded),
        query_bytes=measured[-1].query_bytes,
        response_bytes=measured[-1].response_bytes,
    )
    said = [np.array([line[name] for line in lines]) for name in ("executed", "simulated")]
    if number is not None:
        said = [client.artifact.head.classes(each) for each in said]
    return Execution(*said, [each.compute_seconds for each in measured], costs)


def simulate(module: QuantizedModule, image: np.ndarray, number: Number | None) -> np.ndarray | int:
    """What Concrete's simulation of a circuit says of an image: logits [classes], or the number."""
    if number is None:
        return module.forward(image[None], fhe="simulate").reshape(-1)
    digits = module.fhe_circuit.simulate(module.quantize_input(image[None]))
    return int(numbers_of(np.asarray(digits))[0])
