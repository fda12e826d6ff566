"""Answer heads: what a circuit's output means, from decrypted integers to an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..model.decision import Decisions
from ..model.rows import Rows
from .answer import Answer, Heard, Match, Song
from .manifest import Manifest, OutputQuantizer
from .number import Number, classes_of, numbers_of

Integers = NDArray[np.int64]
Logits = NDArray[np.float64]


NOTHING = Heard()


class AnswerHead(Protocol):
    """What all heads can do."""

    @property
    def what(self) -> str:
        """What the server answers with, for people."""
        ...

    def read(self, values: Integers) -> Logits | int:
        """What a circuit's decrypted output says: logits, or the song's number."""
        ...

    def answer(self, values: Integers, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """The answer that a circuit's decrypted output stands for.

        Args:
            values: integers, as many as the circuit has outputs.
            top: how many matches to give.
            heard: of the clip.
        """
        ...

    def answer_of_logits(self, logits: Logits, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """The answer that a network's logits stand for, float [rows + 1], "unknown" last."""
        ...

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """The classes that several outputs stand for, as `read` gave them; "unknown" is last."""
        ...


@dataclass(frozen=True)
class LogitsHead:
    """A logit for every row and one for "unknown"; the client decides.

    Attributes:
        songs: the catalogue, in the order of the classes.
        rows: of each song.
        decisions: when to answer "unknown".
        crop_seconds: length of clips where nothing else is known.
        quantizer: of the logits.
    """

    songs: tuple[Song, ...]
    rows: Rows
    decisions: Decisions
    crop_seconds: float
    quantizer: OutputQuantizer
    what: str = "logits"

    def read(self, values: Integers) -> Logits:
        """The logits: float [rows + 1], "unknown" last."""
        return self.quantizer.dequantize(values.reshape(-1))

    def answer(self, values: Integers, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """See `AnswerHead`."""
        return self.answer_of_logits(self.read(values), top=top, heard=heard)

    def answer_of_logits(self, logits: Logits, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """See `AnswerHead`."""
        scores = self.rows.scores(logits[None])
        seconds = heard.seconds or self.crop_seconds
        probabilities = self.decisions.at(seconds).probabilities(scores)[0]
        order = np.argsort(-scores[0, :-1], kind="stable")[:top]
        return Answer(
            tuple(
                Match(self.songs[i], float(probabilities[i]), *self._offset(logits, i, seconds))
                for i in order.tolist()
            ),
            float(probabilities[-1]),
            bool(probabilities[-1] > 0.5),
            heard.notes,
        )

    def _offset(
        self, logits: Logits, song: int, seconds: float
    ) -> tuple[float | None, float | None]:
        """Where in a song a clip of `seconds` begins, and how far off that may be."""
        middle = self.rows.offset(logits, song)
        if middle is None or self.rows.seconds is None:
            return None, None
        return max(0.0, middle - seconds / 2), self.rows.seconds / 2

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """See `AnswerHead`; of clips as long as a crop."""
        scores = self.rows.scores(np.asarray(said))
        return np.asarray(self.decisions.at(self.crop_seconds).classes(scores))


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

    def answer(self, values: Integers, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """See `AnswerHead`; there is one match or none, whatever `top` is."""
        return self.answer_of_number(self.read(values), heard=heard)

    def answer_of_number(self, number: int, *, heard: Heard = NOTHING) -> Answer:
        """What a song's number stands for."""
        notes = heard.notes
        if 1 <= number <= len(self.songs):
            return Answer((Match(self.songs[number - 1], None),), None, False, notes)
        if number:
            wrong = f"the server's answer was song {number}, which does not exist: an error"
            notes = (*notes, wrong)
        return Answer((), None, True, notes)

    def answer_of_logits(self, logits: Logits, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """See `AnswerHead`."""
        return self.answer_of_number(int(self.number.numbers(logits[None])[0]), heard=heard)

    def classes(self, said: Sequence[Logits | int]) -> Integers:
        """See `AnswerHead`."""
        return np.asarray(classes_of(np.asarray(said), len(self.songs)))


def head_of(manifest: Manifest) -> LogitsHead | NumberHead:
    """The head of an artifact's circuit."""
    if manifest.number is None:
        return LogitsHead(
            manifest.catalogue,
            manifest.rows.to_rows(),
            manifest.decisions,
            manifest.config.signal.crop_seconds,
            manifest.output_quantizer,
        )
    return NumberHead(manifest.catalogue, manifest.number)
