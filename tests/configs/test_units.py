import pytest
from hushtune.configs.units import readable_bytes


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
