"""Which tracks of a catalogue can be used: every one is decoded once, and what is wrong is counted.

What was found is kept as the run's ``catalogue.json``; `summary` says it in a few lines, so that
nothing is left out in silence.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...configs.schema import Config
from ...model.audio import check_audible, decode_audio
from ...support.errors import AudioError, AudioFault, CatalogueError
from ...support.parallel import parallel_map
from .catalogue import file_digest, remember_digest
from .track import Track

MAX_TRACK_SECONDS = 1200.0
"""Of longer tracks, only the beginning is enrolled."""
MANY_SKIPPED = 0.1
"""More than this share of tracks skipped is a warning."""
Told = dict[str, Any]
"""What was found, JSON-ready."""


@dataclass(frozen=True)
class Problem:
    """A track that cannot be used, and why."""

    track: Track
    reason: str
    fault: AudioFault


@dataclass(frozen=True)
class Partly:
    """A track that is used as far as it goes.

    Attributes:
        track: which.
        seconds: how much of it is used.
        of_seconds: how long its file says that it is.
        damaged: the rest could not be decoded; else the track is longer than what is enrolled.
    """

    track: Track
    seconds: float
    of_seconds: float
    damaged: bool

    @property
    def reason(self) -> str:
        """The same in words."""
        if self.damaged:
            told = f"only {self.seconds:.0f} of about {self.of_seconds:.0f} s could be decoded"
        else:
            told = f"{self.of_seconds / 60:.0f} min long: the first {self.seconds / 60:.0f} count"
        return f"{self.track.path}: {told}."


@dataclass(frozen=True)
class CatalogueCheck:
    """What checking a catalogue found.

    Attributes:
        usable: tracks, in order.
        problems: of those that cannot be used.
        partly: usable ones of which something is missing.
    """

    usable: list[Track]
    problems: list[Problem]
    partly: list[Partly]

    def to_json(self) -> Told:
        """The content of ``catalogue.json``."""
        return {
            "usable": len(self.usable),
            "skipped": [
                {"id": p.track.id, "fault": p.fault.value, "reason": p.reason}
                for p in self.problems
            ],
            "partly": [{"id": p.track.id, "reason": p.reason} for p in self.partly],
        }


def check_tracks(tracks: list[Track], config: Config, *, workers: int = 0) -> CatalogueCheck:
    """Decode every track and sort out those that cannot be used.

    A track must decode, last at least one crop, not be silent, and not repeat another's file.

    Raises:
        CatalogueError: a problem under ``strict: true``, or no usable track.
    """
    signal = config.signal
    checks = parallel_map(
        _Check(signal.sample_rate_hz, signal.crop_seconds),
        tracks,
        title="Checking tracks",
        workers=workers,
    )
    first_with: dict[str, Track] = {}
    found = CatalogueCheck([], [], [])
    for track, (digest, problem, partly) in zip(tracks, checks, strict=True):
        if digest:
            remember_digest(track.path, digest)
        twin = first_with.setdefault(digest, track) if digest else track
        if problem is None and twin is not track:
            reason = f"{track.path}: the same file as track {twin.id}."
            problem = Problem(track, reason, AudioFault.REPEATED)
        if problem is None:
            found.usable.append(track)
            found.partly.extend([partly] if partly else [])
        else:
            found.problems.append(problem)
    if found.problems and config.catalogue.strict:
        raise CatalogueError(
            f"catalogue (strict): {len(found.problems)} of {len(tracks)} tracks cannot be used:\n"
            + "\n".join(problem.reason for problem in found.problems)
        )
    if not found.usable:
        raise CatalogueError(
            f"catalogue.path={getattr(config.catalogue, 'path', '')}: none of {len(tracks)} tracks "
            f"can be used; the first: {found.problems[0].reason}"
        )
    return found


def summary(told: Told, where: str) -> list[str]:
    """What was left out, in a few lines for people; none where nothing was.

    Args:
        told: the content of ``catalogue.json``.
        where: to read more.
    """
    skipped, partly = told["skipped"], told.get("partly", [])
    lines = []
    if skipped:
        total = told["usable"] + len(skipped)
        counts = Counter(one.get("fault", AudioFault.OTHER.value) for one in skipped)
        kinds = ", ".join(f"{count} {fault}" for fault, count in counts.most_common())
        line = f"Skipped {len(skipped)} of {total} tracks: {kinds}. See {where}."
        if len(skipped) > MANY_SKIPPED * total:
            line = f"WARNING: {len(skipped) / total:.0%} of the catalogue is not enrolled. {line}"
        lines.append(line)
    other = told.get("other_files", {})
    if other:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in list(other.items())[:8])
        lines.append(f"Files of other kinds, not read: {kinds}.")
    if partly:
        lines.append(f"Used only in part: {len(partly)} tracks, the first: {partly[0]['reason']}")
    return lines


@dataclass(frozen=True)
class _Check:
    sample_rate: int
    min_seconds: float

    def __call__(self, track: Track) -> tuple[str, Problem | None, Partly | None]:
        digest, rate = "", self.sample_rate
        try:
            digest = file_digest(track.path)
            decoded = decode_audio(track.path, rate, max_seconds=MAX_TRACK_SECONDS)
            check_audible(decoded.samples, rate, self.min_seconds, name=str(track.path))
        except AudioError as error:
            return digest, Problem(track, str(error), error.fault), None
        seconds, stated = len(decoded.samples) / rate, decoded.announced_seconds
        partly = None
        if stated is not None and not decoded.complete:
            partly = Partly(track, seconds, stated, damaged=True)
        elif stated is not None and stated > MAX_TRACK_SECONDS + 1:
            partly = Partly(track, seconds, stated, damaged=False)
        return digest, None, partly
