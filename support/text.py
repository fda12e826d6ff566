"""Text from strangers, before people see it."""

import unicodedata

_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, halves of surrogate pairs, separators of lines and paragraphs."""
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows, and can hide what it says."""


def is_plain(text: str) -> bool:
    """Whether a text is one line without characters that a terminal would obey."""
    return all(_plain(character) for character in text)


def plain(text: str) -> str:
    """The text with a blank for each character that a terminal would obey, escapes for one."""
    return "".join(each if _plain(each) else " " for each in text)


def printable(text: str, *, keep: str = "", instead: str = " ") -> str:
    """The text with another character for each that Python does not call printable.

    Args:
        text: anybody's.
        keep: characters to leave, such as line breaks.
        instead: what takes the others' place.
    """
    return "".join(each if each.isprintable() or each in keep else instead for each in text)


def _plain(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN and character not in _TURNING
