"""Tracks of a catalogue: from a folder, a CSV manifest or the FMA layout, checked one by one."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tinytag

from ...configs.schema import (
    Catalogue,
    ComposedCatalogue,
    CsvCatalogue,
    FmaCatalogue,
    FolderCatalogue,
    JoinedCatalogue,
)
from ...model.decoding import SUFFIXES
from ...support.errors import AudioError, AudioFault, CatalogueError
from ...support.text import plain
from .composer import compose_catalogue
from .tables import read_rows
from .track import Track

TIMED = 500
"""So many files, evenly spread, tell how long a catalogue's are."""
HIDDEN = {"__MACOSX", "lost+found", "System Volume Information"}
"""Folders that systems make."""


def list_tracks(settings: Catalogue, cache: Path) -> list[Track]:
    """List a catalogue's tracks, in a fixed order, without decoding them.

    Args:
        settings: where the catalogue is.
        cache: folder that composed songs are written to.

    Raises:
        CatalogueError: the catalogue is missing, malformed or empty, or ids repeat.
    """
    if isinstance(settings, FolderCatalogue):
        tracks = list(_from_folder(settings.path))
    elif isinstance(settings, CsvCatalogue):
        tracks = list(_from_csv(settings.path))
    elif isinstance(settings, FmaCatalogue):
        tracks = list(_from_fma(settings.path, settings.subset))
    elif isinstance(settings, JoinedCatalogue):
        tracks = []
        for place, part in enumerate(settings.parts):
            prefix = f"composed-{part.seed}-" if isinstance(part, ComposedCatalogue) else ""
            tracks += [
                replace(track, id=prefix + track.id, always_known=track.always_known or place > 0)
                for track in list_tracks(part, cache)
            ]
    else:
        tracks = compose_catalogue(settings, cache / "songs")
    if not tracks:
        raise CatalogueError(
            f"catalogue.path={getattr(settings, 'path', '')}: no track found. "
            f"Expected audio files ({', '.join(SUFFIXES)})."
        )
    seen: dict[str, Track] = {}
    for track in tracks:
        if track.id in seen:
            raise CatalogueError(
                f"catalogue: id={track.id!r} stands for {seen[track.id].path} and {track.path}. "
                "Give every track an id of its own."
            )
        seen[track.id] = track
    return tracks


def catalogue_facts(settings: Catalogue) -> str:
    """What a catalogue holds, in a line, without decoding any of it.

    Raises:
        CatalogueError: it is missing, malformed or empty.
    """
    if isinstance(settings, ComposedCatalogue):
        return f"{settings.tracks:,} songs to compose, {settings.seconds:g} s each"
    if isinstance(settings, JoinedCatalogue):
        return "; ".join(map(catalogue_facts, settings.parts))
    tracks = list_tracks(settings, Path())
    there = [track for track in tracks if track.path.is_file()]
    step = max(1, len(there) // TIMED)
    seconds = [_stated_seconds(track.path) for track in there[::step]]
    known = [length for length in seconds if length]
    artists = len({track.artist.casefold() for track in tracks if track.artist})
    facts = [f"{len(tracks):,} tracks", f"{artists:,} artists"]
    if known:
        facts.append(f"about {sum(known) / len(known) * len(there) / 3600:.1f} hours")
    if unnamed := sum(not track.artist for track in tracks):
        facts.append(f"{unnamed:,} without an artist")
    if len(there) < len(tracks):
        facts.append(f"{len(tracks) - len(there):,} files missing")
    return ", ".join(facts)


def _stated_seconds(path: Path) -> float | None:
    """How long a file says that it is."""
    try:
        return tinytag.TinyTag.get(path).duration
    except (tinytag.TinyTagException, OSError, ValueError):
        return None


def _from_folder(folder: Path) -> Iterator[Track]:
    if not folder.is_dir():
        raise CatalogueError(f"catalogue.path={folder}: no such folder.")
    for path in sorted(files_in(folder)):
        if path.suffix.lower() in SUFFIXES:
            yield track_of_file(path, str(path.relative_to(folder)))


def track_of_file(path: Path, name: str = "") -> Track:
    """The track of an audio file: title, artist and genre from its tags, else from its name.

    Args:
        path: of the file.
        name: its id; the file's own name where empty.
    """
    title, artist, genre = _tags(path)
    told = os.fsencode(name or path.name)  # which need not be UTF-8
    return Track(told.decode("utf-8", "backslashreplace"), title, artist, path, genre)


def files_in(folder: Path) -> Iterator[Path]:
    """All files of a folder and the folders in it, linked ones, too, each folder once.

    What a system or a program hides there is passed over (``.Trash-1000``, ``._song.mp3``,
    ``__MACOSX``).
    """
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        about = os.stat(here)
        if (about.st_dev, about.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in names:
            path = Path(here, name)
            if not _hidden(name) and path.is_file():
                yield path


def other_files(settings: Catalogue) -> dict[str, int]:
    """How many files of a catalogue's folder are not searched for audio, by their suffixes."""
    if not isinstance(settings, FolderCatalogue):
        return {}
    suffixes = (path.suffix.lower() for path in files_in(settings.path))
    counts = Counter(suffix or "no suffix" for suffix in suffixes if suffix not in SUFFIXES)
    return dict(counts.most_common())


def _hidden(name: str) -> bool:
    return name.startswith((".", "$")) or name in HIDDEN


def _tags(path: Path) -> tuple[str, str, str]:
    """Title, artist and genre from tags, else from the name ``Artist - Title.ext``.

    A number before the dash is that of the track: ``01 - Title.ext``.
    """
    title = artist = genre = None
    try:
        tags = tinytag.TinyTag.get(path)
        title, artist, genre = tags.title, tags.artist, tags.genre
    except (tinytag.TinyTagException, OSError, ValueError):
        pass  # decoding, later, tells whether the file is broken
    title, artist, genre = (plain(text or "").strip() for text in (title, artist, genre))
    name = plain(path.stem)
    number, dash, rest = name.partition(" - ")
    if dash and number.strip().isdigit():
        name = rest
    named_artist, dash, named_title = name.partition(" - ")
    if not dash:
        named_artist, named_title = "", name
    return (
        title or named_title.strip() or path.name,
        artist or named_artist.strip(),
        genre,
    )


def _from_csv(manifest: Path) -> Iterator[Track]:
    for line, row in read_rows(manifest, ("id", "title", "artist", "path")):
        if not (row["id"] and row["path"]):
            raise CatalogueError(
                f"{manifest}, line {line}: id={row['id']!r}, path={row['path']!r}. Both must be "
                "given."
            )
        yield Track(
            row["id"],
            plain(row["title"]).strip() or row["id"],
            plain(row["artist"]).strip(),
            manifest.parent / row["path"],
            row.get("genre") or row.get("source") or "",
            license=row.get("license") or row.get("licence") or "",
        )


def _from_fma(folder: Path, subset: str) -> Iterator[Track]:
    manifest = folder / "fma_metadata" / "tracks.csv"
    audio = folder / f"fma_{subset}"
    for path in (manifest, audio):
        if not path.exists():
            raise CatalogueError(
                f"catalogue.path={folder}: {path.relative_to(folder)} is missing. Unpack "
                f"fma_metadata.zip and fma_{subset}.zip of the FMA data set side by side there."
            )
    csv.field_size_limit(2**24)  # some descriptions are long
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = list(zip(next(rows), next(rows), strict=True))
            title, artist = header.index(("track", "title")), header.index(("artist", "name"))
            top = ("track", "genre_top")
            genre = header.index(top) if top in header else title
            terms = ("track", "license")
            licence = header.index(terms) if terms in header else None
            for row in rows:
                if len(row) <= max(title, artist, genre) or not row[0].isdigit():
                    continue  # the third header line names the index column
                number = f"{int(row[0]):06d}"
                path = audio / number[:3] / f"{number}.mp3"
                if path.exists():  # tracks.csv lists all subsets
                    kind = row[genre] if genre != title else ""
                    stated = row[licence] if licence is not None and licence < len(row) else ""
                    yield Track(
                        number, row[title] or number, row[artist], path, kind, license=stated
                    )
    except (StopIteration, ValueError, OSError, csv.Error) as error:
        raise CatalogueError(
            f"{manifest}: expected the FMA's two-row header with (track, title), (artist, name), "
            f"UTF-8 ({error})."
        ) from error


_digests: dict[tuple[str, int, int], str] = {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, for cache keys; a file that did not change is read once.

    Raises:
        AudioError: the file cannot be read.
    """
    try:
        state = _state(path)
        if state not in _digests:
            _digests[state] = hashlib.sha256(path.read_bytes()).hexdigest()
        return _digests[state]
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be read ({error.strerror}).", AudioFault.UNREADABLE
        ) from error


def remember_digest(path: Path, digest: str) -> None:
    """Take over what another process found `file_digest` to be."""
    _digests[_state(path)] = digest


def _state(path: Path) -> tuple[str, int, int]:
    """What changes when a file does: name, size, time of its last change."""
    about = path.stat()
    return str(path), about.st_size, about.st_mtime_ns
