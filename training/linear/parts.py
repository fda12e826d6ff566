"""Which songs are left out together to learn what unknown ones sound like."""

import hashlib
from collections.abc import Mapping, Sequence

from ..data.split import by_artist
from ..data.track import Track

PARTS = 5
"""Into so many the songs are cut for cross-fitting."""


def parts_of(tracks: Sequence[Track]) -> dict[str, int]:
    """The part that each track belongs to, by id: artists stay whole, and parts are about equal.

    Where there are too few artists for that, tracks are told apart instead.
    """
    groups = by_artist(tracks)
    if len(groups) < 2 * PARTS:
        groups = [[track] for track in tracks]
    parts: dict[str, int] = {}
    sizes = [0] * min(PARTS, len(groups))
    for group in sorted(groups, key=lambda group: _shuffled(group[0])):
        part = sizes.index(min(sizes))
        sizes[part] += len(group)
        parts.update({track.id: part for track in group})
    return parts


def _shuffled(track: Track) -> str:
    """Sorts artists in an order that has nothing to do with their names, always the same."""
    name = track.artist.casefold() or track.id
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def extended(parts: Mapping[str, int], tracks: Sequence[Track]) -> dict[str, int]:
    """Parts of tracks of which some have theirs: an artist's new tracks join the others.

    Args:
        parts: by id of a track, those of tracks that are gone, too.
        tracks: all there are.
    """
    result = {track.id: parts[track.id] for track in tracks if track.id in parts}
    of_artist = {track.artist.casefold(): parts[track.id] for track in tracks if track.id in parts}
    count = max(parts.values()) + 1
    for track in tracks:
        if track.id not in result:
            sizes = [list(result.values()).count(part) for part in range(count)]
            smallest = sizes.index(min(sizes))
            named = track.artist and of_artist.get(track.artist.casefold())
            result[track.id] = smallest if named in ("", None) else int(named)
    return result
