import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushtune.support.strict_json import loads

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(-1e300, 1e300)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_reads_what_json_writes(value):
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('[{"b": {"c": 1, "c": 1}}]', "'c' twice"),
        ('{"a": NaN}', "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("1e400", "finite"),
        ("[" + "9" * 50 + "]", "50 digits"),
        ("[1." + "1" * 50 + "]", "short number"),
        ("[" * 33 + "]" * 33, "32 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "32 deep"),
        ("[" + "[]," * 1_000_001 + "[]]", "1,000,000 values"),
        ('["' + '\\"' * 1_000_000, "Unterminated"),
        ('{"\\ud800": 1}', "surrogates"),
        ('{"a": ["\\udfff"]}', "surrogates"),
        ("{", "Expecting"),
        (b"\xff\xfe", "decode"),
        ("", "Expecting"),
    ],
)
def test_refuses(text, expected):
    with pytest.raises(ValueError, match=expected):
        loads(text)


def test_refuses_long_text_without_reading_it():
    began = time.monotonic()
    with pytest.raises(ValueError, match="at most 1,000"):
        loads(b"[" * 10_000_000, max_bytes=1_000)
    assert time.monotonic() - began < 0.5


def test_brackets_within_strings_do_not_count():
    text = json.dumps(["[" * 100 + '"{' * 100 + "\\"])
    assert loads(text, max_depth=1) == json.loads(text)
