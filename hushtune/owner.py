"""What the owner of an artifact can do without encryption: run the network, or simulate FHE."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hushtune.fhe.answer import Answer, Heard
from hushtune.fhe.artifact import Artifact
from hushtune.fhe.client import Client
from hushtune.fhe.export.owner import load_calibration, load_network
from hushtune.fhe.heads import NumberHead
from hushtune.model.network import network_logits

Features = NDArray[np.float32]


def owner_answer(
    client: Client, artifact: Artifact, mode: Literal["simulate", "clear"]
) -> Callable[[Features, int, Heard], Answer]:
    """How the owner's part answers: from features, a number of matches, and what was heard.

    Args:
        client: of the artifact.
        artifact: with its owner's part.
        mode: ``simulate`` for Concrete's simulation of FHE; ``clear`` for the quantized network.
    """
    network = load_network(artifact)
    if mode == "clear":

        def clear(features: Features, top: int, heard: Heard) -> Answer:
            logits = network_logits(network, torch.from_numpy(features)[None])[0]
            return client.answer(logits, top=top, heard=heard)

        return clear
    from hushtune.fhe.export.compile import compile_network
    from hushtune.fhe.export.execution import simulate

    calibration, number = load_calibration(artifact), artifact.manifest.number
    module = compile_network(network, calibration, artifact.config.fhe, number)

    def simulated(features: Features, top: int, heard: Heard) -> Answer:
        said = simulate(module, features, number)
        head = client.artifact.head
        if isinstance(head, NumberHead):
            return head.answer_of_number(int(said), heard=heard)
        return client.answer(np.asarray(said), top=top, heard=heard)

    return simulated
