"""Running images through an artifact's files under real FHE, and in Concrete's simulation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from concrete.ml.quantization import QuantizedModule

from ...support.journal import Journal, digest_of
from ...support.progress import progress_bar
from ...support.timing import timed
from ...support.units import readable_seconds
from ..client import Client
from ..number import Number, classes_of, numbers_of
from ..server import Server


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

    executed: np.ndarray
    simulated: np.ndarray
    compute_seconds: list[float]
    costs: dict


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
    key_seconds = timed(client.create_keys)[1]
    uploaded = client.evaluation_keys()
    keys = server.load_keys(uploaded)
    number, songs = client.artifact.number, len(client.artifact.songs)
    earlier = {} if journal is None else journal.read()
    lines = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(images), note="")
        for image in images:
            line = earlier.get(digest_of(image.tobytes()))
            if line is None:
                query, encrypt = timed(lambda image=image: client.encrypt_image(image))
                response, compute = timed(lambda query=query: server.run(query, keys))
                read = client.decrypt_logits if number is None else client.decrypt_number
                said, decrypt = timed(lambda response=response, read=read: read(response))
                line = {
                    "executed": np.asarray(said).tolist(),
                    "simulated": np.asarray(simulate(module, image, number)).tolist(),
                    "seconds": (encrypt, compute, decrypt),
                    "query_bytes": len(query),
                    "response_bytes": len(response),
                }
                if journal is not None:
                    journal.add(image, line)
            lines.append(line)
            bar.update(task, advance=1, note=f"{readable_seconds(line['seconds'][1])} a query")
    seconds = [line["seconds"] for line in lines]
    medians = np.median(np.array(seconds), axis=0)
    costs = {
        "key_seconds": key_seconds,
        "encrypt_seconds": float(medians[0]),
        "compute_seconds": float(medians[1]),
        "decrypt_seconds": float(medians[2]),
        "evaluation_key_bytes": len(uploaded),
        "query_bytes": lines[-1]["query_bytes"],
        "response_bytes": lines[-1]["response_bytes"],
    }
    said = [np.array([line[name] for line in lines]) for name in ("executed", "simulated")]
    if number is not None:
        said = [classes_of(each, songs) for each in said]
    return Execution(*said, [compute for _, compute, _ in seconds], costs)


def simulate(module: QuantizedModule, image: np.ndarray, number: Number | None) -> np.ndarray | int:
    """What Concrete's simulation of a circuit says of an image: logits [classes], or the number."""
    if number is None:
        return module.forward(image[None], fhe="simulate").reshape(-1)
    digits = module.fhe_circuit.simulate(module.quantize_input(image[None]))
    return int(numbers_of(np.asarray(digits))[0])
