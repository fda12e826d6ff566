"""What computes: a compiled circuit, by Concrete's code or, without PBS, as a matrix product."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from ..support.errors import ArtifactError, ProtocolError
from .ciphertexts import Frame, Words
from .encryption import Encryption
from .linear import LinearCircuit

LINEAR = "linear.npz"
"""Beside ``server.zip``, for circuits without PBS."""


class Circuit:
    """A compiled circuit, ready to compute responses.

    Args:
        folder: holds Concrete's ``server.zip`` or, as the one thing needed, ``linear.npz``.
        encryption: of the circuit.
        linear: whether to compute with the latter.

    Raises:
        ArtifactError: ``linear.npz`` cannot be read, or fits another circuit.
    """

    def __init__(self, folder: Path, encryption: Encryption, *, linear: bool):
        self._encryption = encryption
        self._linear = LinearCircuit.load(folder / LINEAR) if linear else None
        self._model: Any = None
        if not linear:
            self._model = _compiled(folder / "server.zip", encryption)

    @property
    def needs_keys(self) -> bool:
        """Whether it computes with its clients' evaluation keys."""
        return self._encryption.has_evaluation_keys

    def load_keys(self, data: bytes) -> object:
        """Evaluation keys, ready to compute with.

        Args:
            data: as Concrete serialises them.

        Raises:
            ProtocolError: they cannot be read.
        """
        from concrete import fhe

        try:
            return fhe.EvaluationKeys.deserialize(data)
        except RuntimeError as error:
            raise ProtocolError(f"evaluation keys: cannot be read ({error}).") from error

    def run(self, query: Words, keys: object = None) -> Words:
        """Compute a response.

        Args:
            query: the words of an encrypted input, uint64.
            keys: from `load_keys`, of whoever encrypted it; None where none are needed.

        Returns:
            The words of the encrypted output, uint64.

        Raises:
            ProtocolError: not a query of this circuit.
        """
        if self._linear is not None:
            return self._linear.run(query)
        from concrete import fhe

        from .runtime import ignore_broken_pipes

        value = fhe.Value.deserialize(self._query_frame.around(query))
        try:
            given = self._no_keys if keys is None else keys
            result = self._model.run(value, evaluation_keys=given)
        except RuntimeError as error:
            raise ProtocolError(f"query: not one of this circuit's ({error}).") from error
        finally:
            ignore_broken_pipes()
        message = (result[0] if isinstance(result, tuple) else result).serialize()
        return self._response_frame.read(message)

    @cached_property
    def _no_keys(self) -> object:
        from .schemes.concrete import ConcreteClient

        return self.load_keys(ConcreteClient(self._encryption).create_keys().evaluation_keys())

    @cached_property
    def _query_frame(self) -> Frame:
        from .schemes.concrete import frame_of_queries

        return frame_of_queries(self._encryption)

    @cached_property
    def _response_frame(self) -> Frame:
        from .schemes.concrete import frame_of_responses

        return frame_of_responses(self._encryption)


def _compiled(path: Path, encryption: Encryption) -> Any:
    """Concrete's circuit, compiled on this machine.

    Raises:
        ArtifactError: it cannot be compiled, or for other parameters than the manifest's.
    """
    from concrete import fhe

    from .schemes.ranges import listed_ranges

    try:
        # the ranges are not in the file, because Concrete cannot write them
        server = fhe.Server.load(path, range_restriction=listed_ranges())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}). Export it again.") from error
    compiled = Encryption.of_specification(json.loads(server.client_specs.serialize()))
    if compiled != encryption:
        raise ArtifactError(
            f"{path}: Concrete chose other encryption parameters here than on the machine that "
            "exported the artifact. Install the locked versions, or export it again."
        )
    return server
