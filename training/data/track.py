"""One piece of music of a catalogue."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Track:
    """One piece of music. `artist` is empty where unknown.

    `genre` is empty where unknown; where a catalogue gives no genre but its sources, the source.
    A track that is `always_known` is never held out as an unknown song. `license` is empty where
    the catalogue states none. A track `by_hand` was enrolled beside the catalogue. One that is the
    same recording as an enrolled song is merged into it, whose id `same_as` then is.
    """

    id: str
    title: str
    artist: str
    path: Path
    genre: str = ""
    always_known: bool = False
    license: str = ""
    by_hand: bool = False
    same_as: str = ""

    @property
    def name(self) -> str:
        """Artist and title for people."""
        return f"{self.artist} - {self.title}" if self.artist else self.title

    def to_json(self) -> dict[str, Any]:
        """The track as JSON-ready values."""
        return {**asdict(self), "path": str(self.path)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Track":
        """The inverse of `to_json`."""
        return Track(**{**data, "path": Path(data["path"])})
