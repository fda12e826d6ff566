"""Tracks of a catalogue: from a folder, a CSV manifest or the FMA layout, checked one by one."""

import csv
import hashlib
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
from .composer import compose_catalogue
from .track import Track


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


def _from_folder(folder: Path) -> Iterator[Track]:
    if not folder.is_dir():
        raise CatalogueError(f"catalogue.path={folder}: no such folder.")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            title, artist, genre = _tags(path)
            yield Track(path.relative_to(folder).as_posix(), title, artist, path, genre)


def _tags(path: Path) -> tuple[str, str, str]:
    """Title, artist and genre from tags, else from the name ``Artist - Title.ext``."""
    title = artist = genre = None
    try:
        tags = tinytag.TinyTag.get(path)
        title, artist, genre = tags.title, tags.artist, tags.genre
    except (tinytag.TinyTagException, OSError, ValueError):
        pass  # decoding, later, tells whether the file is broken
    named_artist, dash, named_title = path.stem.partition(" - ")
    if not title:
        title = named_title if dash else path.stem
    if not artist:
        artist = named_artist if dash else ""
    return title.strip(), artist.strip(), (genre or "").strip()


def _from_csv(manifest: Path) -> Iterator[Track]:
    if not manifest.is_file():
        raise CatalogueError(f"catalogue.path={manifest}: no such file.")
    required = {"id", "title", "artist", "path"}
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = required - set(rows.fieldnames or ())
            if missing:
                raise CatalogueError(
                    f"{manifest}: column {', '.join(sorted(missing))} is missing; "
                    f"found {', '.join(rows.fieldnames or ['nothing'])}."
                )
            for row in rows:
                if not (row["id"] and row["path"]):
                    raise CatalogueError(
                        f"{manifest}, line {rows.line_num}: id={row['id']!r}, "
                        f"path={row['path']!r}. Both must be given."
                    )
                yield Track(
                    row["id"],
                    row["title"] or row["id"],
                    row["artist"] or "",
                    manifest.parent / row["path"],
                    row.get("genre") or row.get("source") or "",
                    license=row.get("license") or row.get("licence") or "",
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{manifest}: not a UTF-8 CSV file ({error}).") from error


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
