"""A circuit without look-ups, computed as one matrix product.

Such a circuit multiplies each encrypted input by a known integer for each output and adds up. An
LWE ciphertext is a row of words modulo 2**64, so that the whole circuit is ``W.T @ C`` with
the integer weights `W` [inputs, outputs] and the ciphertexts `C` [inputs, words], plus a
constant in each output's last word. Concrete's compiled code walks through it one ciphertext at a
time; a BLAS multiplies blocks that stay in the cache. Doubles hold 53 bits, so each word is
multiplied as two halves of 32 bits, exactly.

Nothing is different but the seconds: the response is the very same, word by word. `fitted` compares
it with that of Concrete's code, on real queries, before it gives a circuit away. Keys, encryption,
parameters and decryption are Concrete's.

A query carries of each ciphertext the last word and a seed, from which Concrete's generator
(https://github.com/zama-ai/tfhe-rs/tree/main/tfhe-csprng) makes the others: AES-128 with the seed
as its key, of the numbers 0, 1, 2, ... as 16 bytes each, lowest first; the first byte is dropped.
The seed is no secret: a ciphertext's words but for the last are public random numbers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import ECB

from ..support.errors import ArtifactError, ProtocolError
from .ciphertexts import find_blobs

SEEDED_WORDS = 3
"""Of an encrypted input in a query: two of a seed, and the ciphertext's last word."""
HALF_BITS = 32
DOUBLE_BITS = 53
OUTPUTS_AT_ONCE = 1024
"""Bounds the memory that products take."""
ODD = 0x9E3779B97F4A7C15
"""Its multiples modulo 2**64 are numbers of all sizes (Knuth's multiplicative hashing)."""


@dataclass(frozen=True)
class Frame:
    """What all messages of one kind and circuit share: everything around their numbers."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, message: bytes) -> "Frame | None":
        """The frame of a trusted message with one long list of numbers; None with more or none."""
        blobs = list(find_blobs(message))
        if len(blobs) != 1:
            return None
        ((start, end),) = blobs
        return cls(message[:start], message[end:])

    def words(self, message: bytes) -> np.ndarray | None:
        """The numbers in a message, trusted or not: uint64; None if it has another frame."""
        start, end = len(self.head), len(message) - len(self.tail)
        if end < start or (end - start) % 8:
            return None
        if not (message.startswith(self.head) and message.endswith(self.tail)):
            return None
        return np.frombuffer(message, "<u8", (end - start) // 8, start)

    def around(self, words: np.ndarray) -> bytes:
        """A message with these numbers."""
        return b"".join((self.head, memoryview(words).cast("B"), self.tail))


@dataclass(frozen=True)
class LinearCircuit:
    """A compiled circuit without look-ups, as a matrix.

    Attributes:
        weights: integers of the smallest type that holds them, [inputs, outputs].
        constants: what is added to the last word of each output's ciphertext, uint64 [outputs].
        query: the frame of queries.
        response: the frame of responses.
        dimension: words of a ciphertext before the last.
    """

    weights: np.ndarray
    constants: np.ndarray
    query: Frame
    response: Frame
    dimension: int

    @classmethod
    def fitted(
        cls, weights: np.ndarray, run: Callable[[bytes], bytes], queries: Sequence[bytes]
    ) -> "LinearCircuit | None":
        """The circuit with these weights, if it responds as Concrete's does.

        Args:
            weights: integers, [inputs, outputs].
            run: Concrete's own circuit: query to response, as Concrete serialises them.
            queries: real ones. The constants are read from the first one's response, and those of
                all must come out the same.

        Returns:
            None if a single word differs, the weights are too large for exact doubles, or messages
            look otherwise (those of fewer than 22 inputs have no long list of numbers).
        """
        inputs, outputs = weights.shape
        if int(np.abs(weights).sum(0).max()).bit_length() + HALF_BITS > DOUBLE_BITS:
            return None
        responses = [run(query) for query in queries]
        query, response = Frame.of(queries[0]), Frame.of(responses[0])
        if query is None or response is None:
            return None
        sent, words = query.words(queries[0]), response.words(responses[0])
        if len(sent) != SEEDED_WORDS * inputs or len(words) % outputs:
            return None
        words = words.reshape(outputs, -1)
        small = weights.astype(np.min_scalar_type(-max(-weights.min(), weights.max() + 1)))
        circuit = cls(small, np.zeros(outputs, "<u8"), query, response, words.shape[1] - 1)
        constants = words[:, -1] - circuit.product(circuit.ciphertexts(queries[0]))[:, -1]
        circuit = replace(circuit, constants=constants)
        same = all(
            circuit.run(sent) == received for sent, received in zip(queries, responses, strict=True)
        )
        return circuit if same else None

    def save(self, path: Path) -> None:
        """Write it, for `load`."""
        frames = {
            f"{name}_{part}": np.frombuffer(getattr(frame, part), np.uint8)
            for name, frame in (("query", self.query), ("response", self.response))
            for part in ("head", "tail")
        }
        np.savez_compressed(
            path,
            weights=self.weights,
            constants=self.constants,
            dimension=np.int64(self.dimension),
            known_answer=np.frombuffer(self._known_answer(), np.uint8),
            **frames,
        )

    @classmethod
    def load(cls, path: Path) -> "LinearCircuit":
        """Read what `save` wrote, and check that this machine computes what that one did.

        Raises:
            ArtifactError: the file cannot be read, or the same query has another response here.
        """
        try:
            with np.load(path) as stored:
                query, response = (
                    Frame(*(stored[f"{name}_{part}"].tobytes() for part in ("head", "tail")))
                    for name in ("query", "response")
                )
                weights, constants = stored["weights"], stored["constants"]
                circuit = cls(weights, constants, query, response, int(stored["dimension"]))
                known = stored["known_answer"].tobytes()
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise ArtifactError(
                f"{path}: cannot be read ({error}). Export the artifact again."
            ) from error
        if circuit._known_answer() != known:
            raise ArtifactError(
                f"{path}: this machine computes another response than the one that exported the "
                "artifact. Its BLAS (numpy) or AES (cryptography) is at fault: install the locked "
                "versions again."
            )
        return circuit

    def _known_answer(self) -> bytes:
        """SHA-256 of the response to a query of numbers that are always the same."""
        words = np.arange(SEEDED_WORDS * len(self.weights), dtype="<u8") * np.uint64(ODD)
        return hashlib.sha256(self.run(self.query.around(words))).digest()

    def run(self, query: bytes) -> bytes:
        """Compute the response to a query, both as Concrete serialises them.

        Raises:
            ProtocolError: not a query of this circuit.
        """
        out = self.product(self.ciphertexts(query))
        out[:, -1] += self.constants
        return self.response.around(out)

    def ciphertexts(self, query: bytes) -> np.ndarray:
        """The ciphertexts that a query stands for: uint64 [inputs, words].

        Raises:
            ProtocolError: not a query of this circuit.
        """
        words = self.query.words(query)
        inputs = len(self.weights)
        if words is None or len(words) != SEEDED_WORDS * inputs:
            raise ProtocolError("query: not one of this circuit's.")
        words = words.reshape(inputs, SEEDED_WORDS)
        seeds = words[:, :2].tobytes()
        used = 8 * self.dimension
        blocks = -(-(1 + used) // 16)
        counter = b"".join(number.to_bytes(16, "little") for number in range(blocks))
        # a block more than is written: the library asks for room to pad
        stream = np.empty((inputs, 16 * (blocks + 1)), np.uint8)
        for number, row in enumerate(stream):
            key = AES128(seeds[16 * number : 16 * (number + 1)])
            Cipher(key, ECB()).encryptor().update_into(counter, row)
        out = np.empty((inputs, self.dimension + 1), "<u8")
        out.view(np.uint8)[:, :used] = stream[:, 1 : 1 + used]
        out[:, -1] = words[:, -1]
        return out

    def product(self, ciphertexts: np.ndarray) -> np.ndarray:
        """The weights times ciphertexts, modulo 2**64: uint64 [outputs, words].

        Args:
            ciphertexts: uint64 [inputs, words].
        """
        halves = ciphertexts.view("<u4").astype(np.float64)
        weights = self.weights.T
        out = np.empty((len(weights), ciphertexts.shape[1]), "<u8")
        for start in range(0, len(weights), OUTPUTS_AT_ONCE):
            part = slice(start, start + OUTPUTS_AT_ONCE)
            sums = (weights[part].astype(np.float64) @ halves).astype(np.int64)
            low, high = sums[:, 0::2], sums[:, 1::2]
            out[part] = (low + (high << HALF_BITS)).view(np.uint64)
        return out
