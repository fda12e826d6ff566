"""Showing answers: clips one after another, as text or as JSON."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hushtune.cli.output import console, say
from hushtune.support.errors import AudioError, HushtuneError
from hushtune.support.units import readable_bytes, readable_position, readable_seconds

if TYPE_CHECKING:
    from hushtune.fhe.answer import Answer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Top = Annotated[int, typer.Option(min=1, max=100, help="How many matches to give.")]


def require_a_clip(clips: Sequence[Path]) -> None:
    """Refuse clips of which none exists; if some do, the others are told as their turn comes.

    Raises:
        AudioError: naming them.
    """
    if not any(clip.exists() for clip in clips):
        raise AudioError("\n".join(f"{clip}: no such file." for clip in clips))


def identify_all(
    clips: Sequence[Path],
    identify_one: Callable[[Path], "Answer"],
    mode: str,
    *,
    as_json: bool,
) -> None:
    """Identify clips one after another; a clip that cannot be identified is named and skipped.

    Raises:
        typer.Exit: with code 1, at the end, where a clip could not be identified.
    """
    results: list[dict[str, Any]] = []
    failed = False
    for clip in clips:
        try:
            answer = identify_one(clip)
        except HushtuneError as error:
            failed = True
            results.append({"clip": str(clip), "error": str(error)})
            say(f"Error: {error}")
            continue
        results.append({"clip": str(clip), "mode": mode, **answer.to_json()})
        if not as_json:
            console.print(_answer_text(clip, answer), markup=False)
    if as_json:
        sys.stdout.write(json.dumps(results, indent=1) + "\n")
    if failed:
        raise typer.Exit(1)


def _answer_text(clip: Path, answer: "Answer") -> str:
    costs = answer.costs
    head = f"{clip}: {answer.text}"
    if answer.is_unknown:
        sure = answer.unknown_probability
        head += ("" if sure is None else f" ({sure:.0%})") + ", not in this catalogue"
    lines = [head]
    for place, match in enumerate(answer.matches, 1):
        probable = "" if match.probability is None else f"  {match.probability:.1%}"
        where = match.offset_seconds
        at = "" if where is None else f"  at {readable_position(where)}"
        also = f" (also {', '.join(match.song.aliases)})" if match.song.aliases else ""
        lines.append(f"  {place}. {match.song.name}{also}{probable}{at}")
    if costs.query_bytes:
        lines.append(
            f"  sent {readable_bytes(costs.query_bytes)}, "
            f"received {readable_bytes(costs.response_bytes or 0)}, "
            f"server {readable_seconds(costs.compute_seconds or 0.0)}"
        )
    lines += [f"  note: {note}" for note in answer.notes]
    return "\n".join(lines)
