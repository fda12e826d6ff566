"""Tokens: only their hash is kept, and a change of the file counts at once."""

import stat

import pytest

from hushtune.service.tokens import Tokens, add_token
from hushtune.support.errors import ServiceError


def test_tokens_name_their_clients(tmp_path):
    path = tmp_path / "deep" / "tokens.txt"
    ann, ben = add_token(path, "ann"), add_token(path, "ben")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ann not in path.read_text() and ann != ben
    tokens = Tokens(path)
    assert (tokens.client_of(ann), tokens.client_of(ben)) == ("ann", "ben")
    for wrong in ("", ann[:-1], ann + "x", "\udcff", "é" * 1000):
        assert tokens.client_of(wrong) is None
    with pytest.raises(ServiceError, match="ann has a token already"):
        add_token(path, "ann")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert tokens.client_of(ann) is None, "revoked without a restart"


@pytest.mark.parametrize("line", ["ann", "ann:123", "a b:" + "0" * 64, ":" + "0" * 64])
def test_a_line_of_another_form_is_named(tmp_path, line):
    path = tmp_path / "tokens.txt"
    path.write_text(f"# clients\n\n{line}\n")
    with pytest.raises(ServiceError, match="line 3: expected 'name:sha256"):
        Tokens(path)


def test_a_missing_file_and_a_wrong_name_are_said(tmp_path):
    with pytest.raises(ServiceError, match="cannot be read"):
        Tokens(tmp_path / "none")
    with pytest.raises(ServiceError, match="1 to 64 letters"):
        add_token(tmp_path / "tokens", "a b")
