"""JSON from a stranger: bounded in size and depth, without duplicate keys, without infinities."""

import json
import math
from typing import Any, NoReturn

LARGEST_BYTES = 16_000_000
DEEPEST = 32
"""Lists and objects within each other; what Hushtune writes nests less than ten deep."""
LONGEST_NUMBER = 40
"""Characters of a number; Python takes quadratic time for very long integers."""


def loads(data: bytes | str, *, max_bytes: int = LARGEST_BYTES, max_depth: int = DEEPEST) -> Any:
    """Parse JSON text that a stranger wrote.

    Args:
        data: the text, UTF-8 where it is bytes.
        max_bytes: longest text.
        max_depth: most lists and objects within each other.

    Raises:
        ValueError: not JSON, too long, too deep, a key twice in an object, a number that is not
            finite or longer than `LONGEST_NUMBER` characters, or half of a surrogate pair.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
    if len(raw) > max_bytes:
        raise ValueError(f"JSON of {len(raw):,} bytes; at most {max_bytes:,} are accepted")
    text = raw.decode("utf-8")
    _check_depth(text, max_depth)
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_short,
    )
    # half of a surrogate pair can be neither printed nor hashed
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _check_depth(text: str, max_depth: int) -> None:
    """Refuse text that nests too deeply, before a recursive parser sees it."""
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > max_depth:
                raise ValueError(f"JSON nested more than {max_depth} deep")
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"JSON object with the key {key[:80]!r} twice")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON with {name}, which is not a finite number")


def _finite(text: str) -> float:
    value = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise ValueError(f"JSON with {text[:LONGEST_NUMBER]}, which is not a finite, short number")
    return value


def _short(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"JSON with an integer of {len(text):,} digits")
    return int(text)
