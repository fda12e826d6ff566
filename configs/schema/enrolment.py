"""How songs are enrolled."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Settings


class EnrolmentSettings(Settings):
    """How a song becomes rows of the head."""

    row_seconds: Annotated[float, Field(ge=1, le=600)] | None = 10.0
    """Seconds of a song that each row of the head stands for: a song's score is that of its best
    row, which also says where in the song a clip lies. One row for all of a song where null. With
    hidden layers, always one."""
    duplicates: Literal["merge", "keep", "error"] = "merge"
    """What becomes of tracks that are the same recording: one song with both names, two songs, or
    an error that lists them. Without hidden layers."""
