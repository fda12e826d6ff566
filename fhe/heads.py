"""Answer heads: what a circuit's output means, from decrypted integers to an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..model.decision import Decision
from .answer import Answer, Match, Song
from .manifest import Manifest, OutputQuantizer
from .number import Number, classes_of, numbers_of

Integers = NDArray[np.int64]
Logits = NDArray[np.float64]


class AnswerHead(Protocol):
    """What all heads can do."""

    @property
    def what(self) -> str:
        """What the server answers with, for people."""
        ...

    def read(self, values: Integers) -> Logits | int:
        """What a circuit's decrypted output says: logits, or the song's number."""
        ...

    def answer(self, values: Integers, *, top: int = 3, notes: tuple[str, ...] = ()) -> Answer:
        """The answer that a circuit's decrypted output stands for.

        Args:
            values: integers, as many as the circuit has outputs.
            top: how many matches to give.
            notes: remarks on the clip to pass on.
        """
        ...

    def answer_of_logits(
        self, logits: Logits, *, top: int = 3, notes: tuple[str, ...] = ()
    ) -> Answer:
        """The answer that a network's logits stand for, float [songs + 1], "unknown" last."""
        ...

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """The classes that several outputs stand for, as `read` gave them; "unknown" is last."""
        ...


@dataclass(frozen=True)
class LogitsHead:
    """A score for every song and one for "unknown"; the client decides.

    Attributes:
        songs: the catalogue, in the order of the classes.
        decision: when to answer "unknown".
        quantizer: of the scores.
    """

    songs: tuple[Song, ...]
    decision: Decision
    quantizer: OutputQuantizer
    what: str = "logits"

    def read(self, values: Integers) -> Logits:
        """The logits: float [songs + 1], "unknown" last."""
        return self.quantizer.dequantize(values.reshape(-1))

    def answer(self, values: Integers, *, top: int = 3, notes: tuple[str, ...] = ()) -> Answer:
        """See `AnswerHead`."""
        return self.answer_of_logits(self.read(values), top=top, notes=notes)

    def answer_of_logits(
        self, logits: Logits, *, top: int = 3, notes: tuple[str, ...] = ()
    ) -> Answer:
        """See `AnswerHead`."""
        probabilities = self.decision.probabilities(logits[None])[0]
        order = np.argsort(-logits[:-1], kind="stable")[:top]
        return Answer(
            tuple(Match(self.songs[i], float(probabilities[i])) for i in order),
            float(probabilities[-1]),
            bool(probabilities[-1] > 0.5),
            notes,
        )

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """See `AnswerHead`."""
        return np.asarray(self.decision.classes(np.asarray(said)))


@dataclass(frozen=True)
class NumberHead:
    """The number of one song, decided by the server under encryption; 0 for "unknown".

    Attributes:
        songs: the catalogue, in the order of the numbers, which begin at 1.
        number: how the circuit finds it.
    """

    songs: tuple[Song, ...]
    number: Number
    what: str = "number"

    def read(self, values: Integers) -> int:
        """The song's number."""
        return int(numbers_of(values.reshape(1, -1))[0])

    def answer(self, values: Integers, *, top: int = 3, notes: tuple[str, ...] = ()) -> Answer:
        """See `AnswerHead`; there is one match or none, whatever `top` is."""
        return self.answer_of_number(self.read(values), notes=notes)

    def answer_of_number(self, number: int, *, notes: tuple[str, ...] = ()) -> Answer:
        """What a song's number stands for."""
        if 1 <= number <= len(self.songs):
            return Answer((Match(self.songs[number - 1], None),), None, False, notes)
        if number:
            wrong = f"the server's answer was song {number}, which does not exist: an error"
            notes = (*notes, wrong)
        return Answer((), None, True, notes)

    def answer_of_logits(
        self, logits: Logits, *, top: int = 3, notes: tuple[str, ...] = ()
    ) -> Answer:
        """See `AnswerHead`."""
        return self.answer_of_number(int(self.number.numbers(logits[None])[0]), notes=notes)

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """See `AnswerHead`."""
        return np.asarray(classes_of(np.asarray(said), len(self.songs)))


def head_of(manifest: Manifest) -> LogitsHead | NumberHead:
    """The head of an artifact's circuit."""
    if manifest.number is None:
        return LogitsHead(manifest.catalogue, manifest.decision, manifest.output_quantizer)
    return NumberHead(manifest.catalogue, manifest.number)
