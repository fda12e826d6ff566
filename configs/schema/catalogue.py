"""Which music, and which of it is enrolled."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .base import Settings


class FolderCatalogue(Settings):
    """A folder of audio files, searched in depth."""

    kind: Literal["folder"]
    path: Path
    """Folder; title and artist come from tags, else from the name ``Artist - Title.ext``."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class CsvCatalogue(Settings):
    """A CSV manifest with the columns ``id,title,artist,path``, and ``genre`` and ``license`` where
    they are known (others are ignored)."""

    kind: Literal["csv"]
    path: Path
    """The CSV file; its ``path`` column is relative to the folder the CSV lies in."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class FmaCatalogue(Settings):
    """The Free Music Archive data set as its authors lay it out."""

    kind: Literal["fma"]
    path: Path
    """Folder that holds ``fma_metadata/tracks.csv`` and the audio folder."""
    subset: Literal["small", "medium", "large", "full"] = "small"
    """Audio folder: ``fma_small``, ``fma_medium``, ``fma_large`` or ``fma_full``."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


class ComposedCatalogue(Settings):
    """Songs that Hushtune composes itself, for a demo that needs no music."""

    kind: Literal["composed"]
    tracks: Annotated[int, Field(strict=True, ge=6, le=5000)] = 96
    """How many songs to compose."""
    seconds: Annotated[float, Field(ge=12, le=300)] = 30.0
    """Length of each song in seconds."""
    seed: Annotated[int, Field(strict=True)] = 0
    """Seed of the composer."""
    strict: bool = False
    """Kept for symmetry with the other kinds; composed songs are always usable."""


class JoinedCatalogue(Settings):
    """Several catalogues as one, for instance to see how a catalogue grows."""

    kind: Literal["joined"]
    parts: Annotated[tuple["Catalogue", ...], Field(min_length=2, max_length=16)]
    """The catalogues. All of their tracks are enrolled, except those of the first one that are
    held out as unknown songs. Ids must differ; those of composed songs get ``composed-SEED-`` in
    front."""
    strict: bool = False
    """Stop at the first unusable file instead of reporting and skipping it."""


Catalogue = Annotated[
    FolderCatalogue | CsvCatalogue | FmaCatalogue | ComposedCatalogue | JoinedCatalogue,
    Field(discriminator="kind"),
]


class SplitSettings(Settings):
    """Which tracks are enrolled, and which unknown songs train and test their rejection."""

    enrolled: Annotated[int, Field(strict=True, ge=2)] | None = None
    """Tracks to enrol at most, drawn at random; the others are left out. All where null."""
    known_unknowns: Annotated[int, Field(strict=True, ge=0)] = 0
    """Known unknowns: tracks that are not enrolled, train the class "unknown" and help to set the
    threshold of the open-set decision. About so many, because artists are moved whole. Without
    hidden layers none are needed: songs are left out in turn to see what unknown ones look like."""
    unknown_test: Annotated[int, Field(strict=True, ge=0)] = 0
    """Tracks never used in training, to measure how many clips of unknown songs are rejected.
    About so many, likewise."""
