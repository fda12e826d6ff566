"""TFHE as Concrete computes it: keys, encryption and decryption at the client.

Concrete's runtime gets a specification that was written here, from the fixed list of parameters
(`hushtune.fhe.parameters`), and messages whose frames were made here; of what comes from outside it
sees nothing but the words of ciphertexts, in the right number. It is used without Concrete ML and
without Concrete's Python front end, which import torch.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from concrete.compiler import ClientProgram, Keyset, ProgramInfo, TransportValue, Value
from numpy.typing import NDArray

from ...support.errors import KeyFileError, ProtocolError
from ..ciphertexts import Frame, Words
from ..encryption import FUNCTION, Encryption

Integers = NDArray[np.int64]
FROM_THE_SYSTEM = 0
"""A seed of 0 lets Concrete draw from the operating system's generator."""


@dataclass(frozen=True)
class Keys:
    """A client's keys: the secret ones and those of the server."""

    keyset: Keyset

    def serialize(self) -> bytes:
        """All keys as bytes, the secret ones included."""
        return bytes(self.keyset.serialize())

    @classmethod
    def deserialize(cls, data: bytes) -> "Keys":
        """Keys that `serialize` wrote.

        Args:
            data: from the user's own key file.

        Raises:
            KeyFileError: they cannot be read.
        """
        try:
            return cls(Keyset.deserialize(data))
        except RuntimeError as error:
            raise KeyFileError(f"its keys cannot be read ({error}).") from error

    def evaluation_keys(self) -> bytes:
        """The keys that the server computes with, as Concrete serialises them."""
        return bytes(self.keyset.get_server_keys().serialize())


class ConcreteClient:
    """Encrypts and decrypts for one circuit.

    Args:
        encryption: of the circuit, from the fixed list.
    """

    def __init__(self, encryption: Encryption):
        self.encryption = encryption
        self._program = _program(encryption)

    def create_keys(self) -> Keys:
        """Fresh keys (a fraction of a millisecond without evaluation keys, else seconds)."""
        return _keys(self._program)

    def encrypt(self, keys: Keys, values: Integers) -> Words:
        """The words of a seeded ciphertext of each value.

        Args:
            keys: whose.
            values: integers of the circuit's input shape, within its width.

        Returns:
            uint64 [values * 3]: of each, two of a seed and the last word.

        Raises:
            ProtocolError: another shape, or values out of range.
        """
        self._check(values)
        sent = _circuit(self._program, keys).prepare_input(Value(values), 0)
        return self.query_frame.read(bytes(sent.serialize()))

    def decrypt(self, keys: Keys, words: Words) -> Integers:
        """The integers in the words of a response, of the circuit's output shape.

        Args:
            keys: whose query it answers.
            words: a stranger's, uint64, as many as `response_frame` has.

        Raises:
            ProtocolError: more or fewer words.
        """
        message = self.response_frame.around(words)
        received = TransportValue.deserialize(message)
        found = _circuit(self._program, keys).process_output(received, 0).to_py_val()
        return np.asarray(found, np.int64).reshape(self.encryption.output.shape)

    @cached_property
    def query_frame(self) -> Frame:
        """What Concrete writes around a query's words."""
        return frame_of_queries(self.encryption)

    @cached_property
    def response_frame(self) -> Frame:
        """What Concrete writes around a response's words."""
        return frame_of_responses(self.encryption)

    def _check(self, values: Integers) -> None:
        sent = self.encryption.input
        # Concrete would encrypt what is out of range without a word
        low = -(1 << (sent.width - 1)) if sent.signed else 0
        high = (1 << (sent.width - 1 if sent.signed else sent.width)) - 1
        if values.shape != sent.shape or values.min() < low or values.max() > high:
            raise ProtocolError(
                f"query: values of shape {values.shape} from {values.min()} to {values.max()}, "
                f"expected {sent.shape} from {low} to {high}. The artifact is damaged."
            )


def frame_of_queries(encryption: Encryption) -> Frame:
    """The frame that Concrete writes around the words of a circuit's queries."""
    return _frame(encryption.model_copy(update={"bootstrap": (), "keyswitch": ()}), seeded=True)


def frame_of_responses(encryption: Encryption) -> Frame:
    """The frame around those of its responses, learned from a value of the same kind."""
    swapped = {"bootstrap": (), "keyswitch": (), "input": encryption.output}
    return _frame(encryption.model_copy(update=swapped), seeded=False)


def _frame(encryption: Encryption, *, seeded: bool) -> Frame:
    """The frame around encrypted inputs, from an encryption of zeros with keys thrown away."""
    program = _program(encryption, seeded=seeded)
    zeros = np.zeros(encryption.input.shape, np.int64)
    message = _circuit(program, _keys(program)).prepare_input(Value(zeros), 0).serialize()
    return Frame.of(bytes(message))


def _program(encryption: Encryption, *, seeded: bool = True) -> ProgramInfo:
    specification = encryption.specification(seeded=seeded)
    return ProgramInfo.deserialize(json.dumps(specification).encode())


def _keys(program: ProgramInfo) -> Keys:
    seeds = (FROM_THE_SYSTEM,) * 4
    return Keys(Keyset(program, None, *seeds, None))


def _circuit(program: ProgramInfo, keys: Keys):  # type: ignore[no-untyped-def]  # Concrete's own
    return ClientProgram.create_encrypted(program, keys.keyset).get_client_circuit(FUNCTION)
