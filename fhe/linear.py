"""A circuit without PBS, computed as one matrix product.

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
from typing import Any
from zipfile import BadZipFile

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import ECB
from numpy.typing import NDArray

from ..support.errors import ArtifactError, ProtocolError
from .ciphertexts import Words

SEEDED_WORDS = 3
"""Of an encrypted input in a query: two of a seed, and the ciphertext's last word."""
HALF_BITS = 32
DOUBLE_BITS = 53
OUTPUTS_AT_ONCE = 1024
"""Bounds the memory that products take."""
ODD = 0x9E3779B97F4A7C15
"""Its multiples modulo 2**64 are numbers of all sizes (Knuth's multiplicative hashing)."""
LARGEST_BYTES = 2_000_000_000
"""Of the weights in a file."""


@dataclass(frozen=True)
class LinearCircuit:
    """A compiled circuit without PBS, as a matrix.

    Attributes:
        weights: integers of the smallest type that holds them, [inputs, outputs].
        constants: what is added to the last word of each output's ciphertext, uint64 [outputs].
        dimension: words of a ciphertext before the last.
    """

    weights: NDArray[np.signedinteger[Any]]
    constants: Words
    dimension: int

    @classmethod
    def fitted(
        cls,
        weights: NDArray[np.int64],
        dimension: int,
        run: Callable[[Words], Words],
        queries: Sequence[Words],
    ) -> "LinearCircuit | None":
        """The circuit with these weights, if it responds as Concrete's does.

        Args:
            weights: integers, [inputs, outputs].
            dimension: of the secret key.
            run: Concrete's own circuit: the words of a query to those of the response.
            queries: real ones. The constants are read from the first one's response, and those of
                all must come out the same.

        Returns:
            None if a single word differs, or the weights are too large for exact doubles.
        """
        if int(np.abs(weights).sum(0).max()).bit_length() + HALF_BITS > DOUBLE_BITS:
            return None
        responses = [run(query) for query in queries]
        outputs = weights.shape[1]
        if len(responses[0]) != outputs * (dimension + 1):
            return None
        small = weights.astype(np.min_scalar_type(-max(-weights.min(), weights.max() + 1)))
        circuit = cls(small, np.zeros(outputs, "<u8"), dimension)
        last = responses[0].reshape(outputs, -1)[:, -1]
        constants = last - circuit.product(circuit.ciphertexts(queries[0]))[:, -1]
        circuit = replace(circuit, constants=constants)
        pairs = zip(queries, responses, strict=True)
        same = all(np.array_equal(circuit.run(sent), received) for sent, received in pairs)
        return circuit if same else None

    def save(self, path: Path) -> None:
        """Write it, for `load`."""
        np.savez_compressed(
            path,
            weights=self.weights,
            constants=self.constants,
            dimension=np.int64(self.dimension),
            known_answer=np.frombuffer(self._known_answer(), np.uint8),
        )

    @classmethod
    def load(cls, path: Path) -> "LinearCircuit":
        """Read what `save` wrote, and check that this machine computes what that one did.

        Raises:
            ArtifactError: the file cannot be read, or the same query has another response here.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                if sum(entry.file_size for entry in stored.zip.infolist()) > LARGEST_BYTES:
                    raise ValueError(f"it unpacks to more than {LARGEST_BYTES:,} bytes")
                weights, constants = stored["weights"], stored["constants"]
                circuit = cls(weights, constants, int(stored["dimension"]))
                known = stored["known_answer"].tobytes()
            answer = circuit._known_answer()
        except (OSError, EOFError, KeyError, ValueError, TypeError, BadZipFile) as error:
            raise ArtifactError(
                f"{path}: cannot be read ({error}). Export the artifact again."
            ) from error
        if answer != known:
            raise ArtifactError(
                f"{path}: this machine computes another response than the one that exported the "
                "artifact. Its BLAS (numpy) or AES (cryptography) is at fault: install the locked "
                "versions again."
            )
        return circuit

    def _known_answer(self) -> bytes:
        """SHA-256 of the response to a query of numbers that are always the same."""
        words = np.arange(SEEDED_WORDS * len(self.weights), dtype="<u8") * np.uint64(ODD)
        return hashlib.sha256(self.run(words).tobytes()).digest()

    def run(self, query: Words) -> Words:
        """Compute the words of the response: uint64 [outputs * (dimension + 1)].

        Args:
            query: uint64 [inputs * 3].

        Raises:
            ProtocolError: not a query of this circuit.
        """
        out = self.product(self.ciphertexts(query))
        out[:, -1] += self.constants
        return out.reshape(-1)

    def ciphertexts(self, query: Words) -> Words:
        """The ciphertexts that a query stands for: uint64 [inputs, dimension + 1].

        Raises:
            ProtocolError: not a query of this circuit.
        """
        inputs = len(self.weights)
        if len(query) != SEEDED_WORDS * inputs:
            raise ProtocolError("query: not one of this circuit's.")
        words = query.reshape(inputs, SEEDED_WORDS)
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

    def product(self, ciphertexts: Words) -> Words:
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
