"""Which part of a track a fold holds out, and which frames of a rendering may be trained on."""

from ...configs.schema import Config, FoldSettings
from ...support.errors import CatalogueError

RING_SECONDS = 2.0
"""A rendering lets a segment ring on in its reverberation: so much after it is not trained on."""
MIN_SECONDS = 1.0
"""Shorter segments are neither tested nor trained on."""

Span = tuple[float, float]


def _holding_out(config: Config) -> FoldSettings | None:
    """The config's fold, where it holds out segments."""
    fold = config.fold
    return fold if fold is not None and fold.holds_out_segments else None


def held_out(config: Config, seconds: float) -> Span | None:
    """The segment of a track that the config's fold holds out, in seconds; None for no segment.

    Args:
        config: of a run; its fold says which segment.
        seconds: length of the track.
    """
    fold = _holding_out(config)
    if fold is None:
        return None
    # the winner trained on the first half and tested on the last: that is fold 0
    number = fold.of - 1 - fold.number if fold.protocol == "halves" else fold.number
    return number * seconds / fold.of, (number + 1) * seconds / fold.of


def clip_seconds(config: Config, seconds: float) -> float:
    """Length of the test clips of a track: one crop, or the held-out segment where shorter.

    Raises:
        CatalogueError: the track is too short for so many folds.
    """
    fold, segment = _holding_out(config), held_out(config, seconds)
    if fold is None or segment is None:
        return config.signal.crop_seconds
    length = segment[1] - segment[0]
    if length < MIN_SECONDS:
        raise CatalogueError(
            f"a track of {seconds:.1f} s has segments of only {length:.2f} s in {fold.of} "
            f"folds, and no clip can be cut from them. Take fewer folds or longer tracks "
            f"({MIN_SECONDS * fold.of:g} s)."
        )
    return min(config.signal.crop_seconds, length)


def training_spans(config: Config, seconds: float) -> list[Span]:
    """The stretches of a track, in seconds, that the config's fold trains on.

    Raises:
        CatalogueError: nothing is left.
    """
    fold, segment = _holding_out(config), held_out(config, seconds)
    if fold is None or segment is None:
        return [(0.0, seconds)]
    guard = 0.0 if fold.protocol == "halves" else clip_seconds(config, seconds)
    start, end = segment[0] - guard, segment[1] + max(guard, RING_SECONDS)
    spans = [(0.0, start), (end, seconds)]
    spans = [span for span in spans if span[1] - span[0] >= MIN_SECONDS]
    if not spans:
        raise CatalogueError(
            f"a track of {seconds:.1f} s has nothing left to train on in fold "
            f"{fold.number} of {fold.of} ({fold.protocol}). Take more folds "
            "or longer tracks."
        )
    return spans
