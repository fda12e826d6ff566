"""Addresses, and whom a token may be sent to."""

import pytest

from hushtune.client import RemoteClient
from hushtune.client.address import Address
from hushtune.support.errors import ServiceError


@pytest.mark.parametrize(
    ("text", "url", "loopback"),
    [
        ("http://127.0.0.1:8714", "http://127.0.0.1:8714", True),
        ("HTTP://LocalHost:80/", "http://localhost", True),
        ("http://[::1]:8714", "http://[::1]:8714", True),
        ("http://127.9.8.7", "http://127.9.8.7", True),
        ("https://Tunes.Example:443/a/", "https://tunes.example/a", False),
        ("http://127.0.0.1.evil.example", "http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", "http://localhost.evil.example", False),
        ("http://0.0.0.0:1", "http://0.0.0.0:1", False),
    ],
)
def test_an_address_has_one_spelling(text, url, loopback):
    address = Address.parse(text)
    assert (address.url, address.loopback) == (url, loopback)
    assert address.encrypted == url.startswith("https")


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:9", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "ftp://x", "http://", "",
     "http://a b", "http://a\nb", "//x", "http://[::1", "clip.wav", "http://x?y", "http://x#y"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ServiceError, match="not an address"):
        RemoteClient(url)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ServiceError, match="has a user") as told:
        RemoteClient("https://me:hidden@tunes.example")
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("token", ["", "tök", "two words", "a\nb"])
def test_what_is_no_token_is_refused_and_not_repeated(token):
    with pytest.raises(ServiceError, match="token: expected the line") as told:
        RemoteClient("http://127.0.0.1:9", token=token)
    assert not token or token not in str(told.value)


@pytest.mark.parametrize("url", ["http://tunes.example", "http://192.168.0.7:8714"])
def test_a_token_is_not_sent_unencrypted_to_another_machine(url):
    with pytest.raises(ServiceError, match="insecure_http=True") as told:
        RemoteClient(url, token="s3cret")
    assert "s3cret" not in str(told.value)
    RemoteClient(url, token="s3cret", insecure_http=True).close()
    RemoteClient(url).close()
    for safe in ("https://tunes.example", "http://127.0.0.1:9", "http://localhost", "http://[::1]"):
        RemoteClient(safe, token="s3cret").close()
