import pytest

from hushtune.support.units import readable_bytes, readable_position, readable_seconds


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (150, "150 B"),
        (4096, "4.1 KB"),
        (37_238, "37 KB"),
        (7_600_000, "7.6 MB"),
        (2.2e9, "2.2 GB"),
        (-10_469_376, "-10.5 MB"),
    ],
)
def test_bytes_are_read_at_a_glance(count, text):
    assert readable_bytes(count) == text


@pytest.mark.parametrize(
    "seconds, text", [(0.034, "0.03 s"), (5.84, "5.8 s"), (67.93, "67.9 s"), (148.14, "148 s")]
)
def test_seconds_are_as_short_as_they_say_something(seconds, text):
    assert readable_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (58.4, "0:58"), (59.6, "1:00"), (65.0, "1:05"), (3600, "60:00")],
)
def test_positions_have_whole_seconds(seconds, text):
    assert readable_position(seconds) == text
