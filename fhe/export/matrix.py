"""The matrix of a circuit without PBS, proved word by word against Concrete's code."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from concrete.ml.quantization import QuantizedArray, QuantizedModule
from numpy.typing import NDArray

from ..circuit import LINEAR, Circuit
from ..encryption import Encryption
from ..linear import LinearCircuit
from ..schemes.concrete import ConcreteClient

PROOFS = 2
"""Encrypted features on which a matrix proves itself: the first also tells its constants."""


def add_matrix(
    module: QuantizedModule,
    encryption: Encryption,
    features: Iterable[NDArray[np.float32]],
    server: Path,
) -> bool:
    """Write ``linear.npz`` for a circuit without PBS, once it has proved itself.

    Args:
        module: compiled.
        encryption: of its circuit.
        features: to encrypt for the proof, float32 [channels, bands, columns] each.
        server: folder of ``server.zip``.

    Returns:
        Whether the file was written: not for other circuits, nor for one that differs from its
        matrix in a single word.
    """
    weights = _matrix_of(module)
    if weights is None:
        return False
    client, concrete = ConcreteClient(encryption), Circuit(server, encryption, linear=False)
    keys = client.create_keys()
    queries = [client.encrypt(keys, module.quantize_input(each[None])) for each in features]
    dimension = encryption.keys[encryption.output.key]
    circuit = LinearCircuit.fitted(weights, dimension, concrete.run, queries)
    if circuit is None:
        return False
    circuit.save(server / LINEAR)
    return True


def _matrix_of(module: QuantizedModule) -> NDArray[np.int64] | None:
    """The integer weights of a circuit without PBS, [inputs, outputs]."""
    if module.fhe_circuit.programmable_bootstrap_count:
        return None
    operations = [operation for _, operation in module.quant_layers_dict.values()]
    matrices = [
        constant.qvalues
        for operation in operations
        for constant in operation.constant_inputs.values()
        if isinstance(constant, QuantizedArray) and constant.qvalues.ndim == 2
    ]
    return matrices[0].astype(np.int64, copy=False) if len(matrices) == 1 else None
