"""JSON from a stranger: bounded in size and depth, without duplicate keys, without infinities."""

import json
import math
import re
from typing import Any, NoReturn

LARGEST_BYTES = 16_000_000
DEEPEST = 32
"""Lists and objects within each other; what Hushtune writes nests less than ten deep."""
MOST_ITEMS = 1_000_000
"""Values in all: an empty list takes three characters of text and 64 bytes of memory."""
LONGEST_NUMBER = 40
"""Characters of a number; Python takes quadratic time for very long integers."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[\]{},]', re.DOTALL)
"""A string, to its end or to that of the text; or what begins, ends or separates values."""


def loads(
    data: bytes | str,
    *,
    max_bytes: int = LARGEST_BYTES,
    max_depth: int = DEEPEST,
    max_items: int = MOST_ITEMS,
) -> Any:
    """Parse JSON text that a stranger wrote.

    Args:
        data: the text, UTF-8 where it is bytes.
        max_bytes: longest text.
        max_depth: most lists and objects within each other.
        max_items: about how many values there may be in all.

    Raises:
        ValueError: not JSON, too long, too deep, too many values, a key twice in an object, a
            number that is not finite or longer than `LONGEST_NUMBER` characters, or half of a
            surrogate pair.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
    if len(raw) > max_bytes:
        raise ValueError(f"JSON of {len(raw):,} bytes; at most {max_bytes:,} are accepted")
    text = raw.decode("utf-8")
    _check_size(text, max_depth, max_items)
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


def _check_size(text: str, max_depth: int, max_items: int) -> None:
    """Refuse text that nests too deeply or holds too much, before a parser builds it."""
    depth = items = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "[{":
            depth += 1
            items += 1
            if depth > max_depth:
                raise ValueError(f"JSON nested more than {max_depth} deep")
        elif token in "]}":
            depth -= 1
        elif token == ",":
            items += 1
        if items > max_items:
            raise ValueError(f"JSON of more than {max_items:,} values")


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
