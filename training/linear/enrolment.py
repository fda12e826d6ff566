"""What a run settles when it is trained, so that songs that come later are treated alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ...support.errors import RunError
from ..data.catalogue import file_digest
from ..data.clips import CLIPS_OF_A_TRACK
from ..data.track import Track
from ..run import Run, RunFile
from .parts import extended, parts_of


@dataclass(frozen=True)
class Enrolment:
    """What a run settled.

    Attributes:
        clips: of each track and length, to calibrate with.
        share: of the tracks that calibrate.
        parts: in which tracks are left out together, by id.
        digests: SHA-256 of the tracks' files, by id.
    """

    clips: int
    share: float
    parts: Mapping[str, int]
    digests: Mapping[str, str]

    @staticmethod
    def of_tracks(tracks: Sequence[Track], known: int, clips: int) -> "Enrolment":
        """Settle it for a new run.

        Args:
            tracks: known ones, then known unknowns.
            known: how many are known.
            clips: wanted of all of these together, of each length.
        """
        of_each = clips / known
        digests = {track.id: file_digest(track.path) for track in tracks}
        wanted = min(CLIPS_OF_A_TRACK, math.ceil(of_each))
        return Enrolment(wanted, min(1.0, of_each), parts_of(tracks), digests)

    def with_tracks(self, tracks: Sequence[Track]) -> "Enrolment":
        """The same for other tracks: those that stay keep their part."""
        digests = {track.id: file_digest(track.path) for track in tracks if track.path.exists()}
        kept = {track.id: self.digests[track.id] for track in tracks if track.id in self.digests}
        return Enrolment(self.clips, self.share, extended(self.parts, tracks), {**kept, **digests})

    def save(self, run: Run) -> None:
        """Write it as a file of a run."""
        run.write_json(RunFile.ENROLMENT, asdict(self))

    @staticmethod
    def load(run: Run) -> "Enrolment":
        """Read a run's.

        Raises:
            RunError: missing or damaged.
        """
        told = run.read_json(RunFile.ENROLMENT)
        try:
            return Enrolment(**told)
        except TypeError as error:
            raise RunError(f"{run.path(RunFile.ENROLMENT)}: cannot be read ({error}).") from error
