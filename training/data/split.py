"""Which tracks are known, which teach "unknown", which test it: by seed and by artist."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...configs.schema import SplitSettings
from ...support.errors import CatalogueError, RunError
from ...support.files import write_json
from ...support.seeds import Stream
from .track import Track


@dataclass(frozen=True)
class Split:
    """Disjoint lists of tracks. A known track's place in `known` is its class.

    Those `merged` are the same recording as a known one; any of them is a right answer.
    """

    known: tuple[Track, ...]
    known_unknowns: tuple[Track, ...]
    unknown_test: tuple[Track, ...]
    merged: tuple[Track, ...] = ()

    @property
    def unknown_class(self) -> int:
        """The class of every song that is not in the catalogue."""
        return len(self.known)

    @property
    def teaching(self) -> tuple[Track, ...]:
        """The known unknowns that a network with hidden layers is trained on."""
        kept = set(self.calibrating)
        return tuple(track for track in self.known_unknowns if track not in kept)

    @property
    def calibrating(self) -> tuple[Track, ...]:
        """Those that set the threshold of its open-set decision: a third, in whole artists."""
        artists = by_artist(self.known_unknowns)
        kept: list[Track] = []
        for tracks in artists:
            if len(kept) + len(tracks) <= len(self.known_unknowns) / 3:
                kept += tracks
        return tuple(kept) if kept else tuple(sorted(artists, key=len)[0])

    def to_json(self) -> dict[str, Any]:
        """The split as JSON-ready values."""
        return {name: [t.to_json() for t in getattr(self, name)] for name in self.__annotations__}

    def digest(self) -> str:
        """SHA-256 over the ids of the three lists."""
        # the keys are those of published reports, whose digests are compared with this one
        lists = {
            "known": self.known,
            "unknown_train": self.known_unknowns,
            "unknown_test": self.unknown_test,
        }
        ids = {name: [track.id for track in tracks] for name, tracks in lists.items()}
        return hashlib.sha256(json.dumps(ids).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the split as JSON."""
        write_json(path, self.to_json())

    @staticmethod
    def load(path: Path) -> "Split":
        """Read a split written by `save`.

        Raises:
            RunError: missing or not a split.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
            lists = {
                name: tuple(map(Track.from_json, data.get(name, [])))
                for name in Split.__annotations__
            }
            if not lists["known"]:
                raise ValueError("no known track")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: not a split that can be read ({error}).") from error
        return Split(**lists)


def split_tracks(tracks: list[Track], settings: SplitSettings, seed: int) -> Split:
    """Split tracks so that no artist of an unknown track is an artist of another list.

    Artists are drawn in an order that depends on the seed and their names alone, so that a grown
    catalogue keeps its split, and moved whole to the unknown lists until those are full; an artist
    with more tracks than a list still needs is passed over, so that one prolific artist cannot
    become the whole test. Tracks that are always known stay out of it. Tracks without an artist
    count as one artist each. An unknown track whose title one other artist's track bears is left
    out: it may be the same piece under another spelling of the name. (Titles that more artists
    share, "Intro" or "Untitled", say nothing.)

    Raises:
        CatalogueError: too few tracks to leave at least two known ones.
    """
    wanted = settings.known_unknowns + settings.unknown_test
    free = [track for track in tracks if not track.always_known]
    if len(free) < wanted + 2:
        raise CatalogueError(
            f"catalogue: {len(free)} usable tracks, but split.known_unknowns="
            f"{settings.known_unknowns}, split.unknown_test={settings.unknown_test} and two known "
            "ones are needed. Add music or lower the two settings."
        )
    groups = sorted(by_artist(free), key=lambda group: _drawn(group[0], seed))
    chosen: dict[str, list[Track]] = {"unknown_test": [], "known_unknowns": []}
    for name, kept in chosen.items():
        room = getattr(settings, name)
        for group in list(groups):
            if len(group) <= room - len(kept) and len(group) <= max(2, room // 4):
                kept += group
                groups.remove(group)
        if room and not kept:
            raise CatalogueError(
                f"split.{name}={room}: no artist has so few tracks that it could be held out "
                "whole. Raise the setting or give the tracks their artists."
            )
    order = {track.id: place for place, track in enumerate(tracks)}
    known = [t for group in groups for t in group] + [t for t in tracks if t.always_known]
    artists: dict[str, set[str]] = defaultdict(set)
    for track in tracks:
        artists[_title(track)].add(track.artist.casefold())
    taken = {_title(track) for track in known}
    twins = {title for title, of in artists.items() if title and len(of) == 2}
    for name, kept in chosen.items():
        chosen[name] = [track for track in kept if _title(track) not in taken & twins]
        taken |= {_title(track) for track in kept}
        if kept and not chosen[name]:
            raise CatalogueError(
                f"split.{name}: every track held out bears the title of another artist's. Raise "
                "the setting, or tell the tracks' titles apart."
            )
    if settings.enrolled is not None and settings.enrolled < len(known):
        rng = np.random.default_rng([seed, Stream.ENROLLED])
        places = rng.permutation(len(known))[: settings.enrolled]
        known = [known[place] for place in places]
    known.sort(key=lambda track: order[track.id])
    return Split(tuple(known), tuple(chosen["known_unknowns"]), tuple(chosen["unknown_test"]))


def _drawn(track: Track, seed: int) -> str:
    """Sorts artists in the order in which they are drawn."""
    name = track.artist.casefold() or f"\0{track.id}"
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest()


def _title(track: Track) -> str:
    """What tells a piece apart; empty where the title is no more than a number, or of nobody."""
    named = track.artist and any(letter.isalpha() for letter in track.title)
    return " ".join(track.title.casefold().split()) if named else ""


def by_artist(tracks: Iterable[Track]) -> list[list[Track]]:
    """Tracks grouped by artist, in order of appearance; one without an artist is a group."""
    groups: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        groups[track.artist.casefold() or f"\0{track.id}"].append(track)
    return list(groups.values())
