"""What computes: a compiled circuit, by Concrete's code or, without look-ups, as a product."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from concrete import fhe
from concrete.ml.deployment import FHEModelClient, FHEModelServer
from concrete.ml.quantization import QuantizedArray, QuantizedModule

from ..support.errors import ProtocolError
from .linear import LinearCircuit
from .runtime import ignore_broken_pipes

LINEAR = "linear.npz"
"""Beside ``server.zip``, for circuits without look-ups."""
PROOFS = 2
"""Encrypted images on which a matrix proves itself: the first also tells its constants."""


class Circuit:
    """A compiled circuit, ready to compute responses.

    Args:
        folder: holds Concrete's ``server.zip`` or, as the one thing needed, ``linear.npz``.
        linear: whether to compute with the latter.
    """

    def __init__(self, folder: Path, *, linear: bool):
        self._linear = LinearCircuit.load(folder / LINEAR) if linear else None
        self._model = None if linear else FHEModelServer(str(folder))

    def run(self, query: bytes, keys: fhe.EvaluationKeys) -> bytes:
        """Compute a response.

        Args:
            query: as Concrete serialises an encrypted input.
            keys: of whoever encrypted it.

        Returns:
            The encrypted output, as Concrete serialises it.

        Raises:
            ProtocolError: not a query of this circuit.
        """
        if self._linear is not None:
            return self._linear.run(query)
        try:
            value = fhe.Value.deserialize(query)
        except RuntimeError as error:
            raise ProtocolError(f"query: cannot be read ({error}).") from error
        try:
            result = self._model.run(value, keys)
        except RuntimeError as error:
            raise ProtocolError(f"query: not one of this circuit's ({error}).") from error
        finally:
            ignore_broken_pipes()
        return (result[0] if isinstance(result, tuple) else result).serialize()


def has_matrix(manifest: dict) -> bool:
    """Whether an artifact's server part is computed as a matrix product, by its manifest."""
    return f"server/{LINEAR}" in manifest["files"]


def add_matrix(
    module: QuantizedModule, images: Iterable[np.ndarray], client: Path, server: Path
) -> bool:
    """Write ``linear.npz`` for a circuit without look-ups, once it has proved itself.

    Args:
        module: compiled.
        images: to encrypt for the proof, float32 [channels, bands, columns] each.
        client: folder of ``client.zip``.
        server: folder of ``server.zip``.

    Returns:
        Whether the file was written: not for other circuits, nor for one that differs from its
        matrix in a single word.
    """
    weights = _matrix_of(module)
    if weights is None:
        return False
    maker, concrete = FHEModelClient(str(client)), Circuit(server, linear=False)
    maker.generate_private_and_evaluation_keys(force=True)
    keys = fhe.EvaluationKeys.deserialize(maker.get_serialized_evaluation_keys())
    queries = [maker.quantize_encrypt_serialize(image[None]) for image in images]
    circuit = LinearCircuit.fitted(weights, lambda query: concrete.run(query, keys), queries)
    if circuit is None:
        return False
    circuit.save(server / LINEAR)
    return True


def _matrix_of(module: QuantizedModule) -> np.ndarray | None:
    """The integer weights of a circuit without look-ups, [inputs, outputs]."""
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
