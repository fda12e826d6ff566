"""What an identification gives."""

from dataclasses import asdict, dataclass
from typing import Any

from .costs import QueryCosts


@dataclass(frozen=True)
class Song:
    """An entry of the catalogue, as the client knows it.

    Attributes:
        id: as the catalogue gives it.
        title: of the track.
        artist: empty where unknown.
        aliases: other names under which the catalogue holds the same recording.
    """

    id: str
    title: str
    artist: str
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Artist and title for people."""
        return f"{self.artist} - {self.title}" if self.artist else self.title


@dataclass(frozen=True)
class Heard:
    """What was read of a clip, beside its features.

    Attributes:
        seconds: of it that were used; None where nobody knows any more, and the length that the
            network sees at once is assumed.
        notes: remarks on it, for people.
    """

    seconds: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A song that a clip may be of.

    Attributes:
        song: which.
        probability: that the clip is a piece of it, 0 to 1; None where the server answers with a
            number alone.
        offset_seconds: where in the song the clip begins, in s; None where a song has a single row.
        offset_error_seconds: how far off that may well be, in s.
    """

    song: Song
    probability: float | None
    offset_seconds: float | None = None
    offset_error_seconds: float | None = None


@dataclass(frozen=True)
class Answer:
    """The best matches, best first, and whether the clip is none of the catalogue's songs.

    Where the server answers with the song's number (``fhe.answer``), there is one match or none,
    and nobody knows how probable it is.

    Attributes:
        matches: best first, as many as were asked for; given for an unknown clip, too.
        unknown_probability: that the clip is none of the songs, 0 to 1; None with a number.
        is_unknown: whether it is taken for none of them.
        notes: remarks on the clip, for people.
        costs: seconds and bytes.
    """

    matches: tuple[Match, ...]
    unknown_probability: float | None
    is_unknown: bool
    notes: tuple[str, ...] = ()
    costs: QueryCosts = QueryCosts()

    @property
    def best(self) -> Match | None:
        """The identified song; None if the clip is unknown."""
        return None if self.is_unknown else self.matches[0]

    @property
    def text(self) -> str:
        """The answer in a few words."""
        return "unknown" if self.is_unknown else self.matches[0].song.name

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON-ready values."""
        return {
            "is_unknown": self.is_unknown,
            "unknown_probability": self.unknown_probability,
            "matches": [
                {
                    **asdict(match.song),
                    "probability": match.probability,
                    "offset_seconds": match.offset_seconds,
                    "offset_error_seconds": match.offset_error_seconds,
                }
                for match in self.matches
            ],
            "notes": list(self.notes),
            "costs": asdict(self.costs),
        }
