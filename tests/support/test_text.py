import pytest

from hushtune.support.text import is_plain, plain, printable


@pytest.mark.parametrize(
    "text", ["Für Elise", "夜に駆ける", "عمرو دياب", "family \U0001f468\u200d\U0001f469", "", "a b"]
)
def test_ordinary_titles_stay_as_they_are(text):
    assert is_plain(text) and plain(text) == text


@pytest.mark.parametrize(
    "text",
    ["a\x1b]52;c;eA==\x07", "two\nlines", "\x9b31m", "a\u202eb", "\u2028", "\ud800", "\x00", "\r"],
)
def test_what_a_terminal_would_obey_becomes_a_blank(text):
    assert not is_plain(text)
    assert is_plain(plain(text)) and len(plain(text)) == len(text)


def test_line_breaks_may_stay():
    assert printable("a\nb\x1b", keep="\n") == "a\nb "
    assert printable("a\nb\x1b\u202e", instead="?") == "a?b??"
