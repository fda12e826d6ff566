"""What a hostile or broken service can do to a client: nothing but be refused, in bounded time."""

import gzip
import itertools
import json
import resource
import time
import zlib

import pytest

from hushtune.client import RemoteClient
from hushtune.client.transport import LARGEST_JSON_BYTES
from hushtune.support.errors import ServiceError

INFO = {
    "service": "hushtune",
    "api": 1,
    "artifact": "a" * 64,
    "client_part": {"sha256": "b" * 64},
    "limits": {"query_timeout_seconds": 300},
    "songs": 7,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr("hushtune.client.transport.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refusal(url: str, **options) -> str:
    """What a client says of a service whose first answer it refuses."""
    with RemoteClient(url, **options) as remote, pytest.raises(ServiceError) as told:
        remote.info()
    return str(told.value)


def test_an_honest_answer_is_read(hostile, http):
    with RemoteClient(hostile(http(json.dumps(INFO).encode())).url) as remote:
        assert remote.info().songs == 7


def test_a_compressed_answer_is_refused_before_it_is_unpacked(hostile, http):
    squeeze = zlib.compressobj(9, wbits=-15)
    block = squeeze.compress(bytes(10_000_000)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    bomb = gzip.compress(b"")[:10] + 300 * block  # 3 GB
    assert len(bomb) < 4_000_000
    assert len(zlib.decompressobj(31).decompress(bomb, 25_000_000)) == 25_000_000
    server = hostile(http(bomb, "Content-Encoding: gzip"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "compressed" in refusal(server.url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB"
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, identity", "x-unknown"])
def test_every_coding_is_refused(hostile, http, coding):
    server = hostile(http(json.dumps(INFO).encode(), f"Content-Encoding: {coding}"))
    assert "compressed" in refusal(server.url)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_an_endless_body_is_cut_off(hostile, status):
    sent = itertools.count()

    def flood(connection):
        connection.sendall(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            next(sent)

    assert f"more than {LARGEST_JSON_BYTES:,} bytes" in refusal(hostile(flood).url)
    assert next(sent) < 500, "of 64 KiB, what fits into the buffers of the sockets"


def test_endless_headers_are_cut_off(hostile):
    sent = itertools.count()

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in itertools.count():
            connection.sendall(b"X-%d: " % number + b"x" * 1000 + b"\r\n")
            next(sent)

    assert "cannot be reached" in refusal(hostile(flood).url)
    assert next(sent) < 6 * 10_000


@pytest.mark.parametrize(
    "drip",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"1\r\n \r\n",
    ],
)
def test_a_slow_or_endless_drip_ends_in_time(hostile, drip):
    def behave(connection):
        if drip[:4] != b"HTTP":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(drip)
            time.sleep(0.05)

    started = time.monotonic()
    assert "did not answer in time" in refusal(hostile(behave).url, timeout=1.0)
    assert 0.9 < time.monotonic() - started < 5


def test_a_service_that_says_nothing_is_given_up(hostile):
    started = time.monotonic()
    assert "did not answer in time" in refusal(hostile(lambda _: time.sleep(30)).url, timeout=0.5)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 40_000 + b"]" * 40_000,
        b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        json.dumps(INFO).replace('"api": 1', '"api": 2, "api": 1').encode(),
        json.dumps(INFO).replace("300", "NaN").encode(),
        json.dumps(INFO).replace("300", "Infinity").encode(),
        json.dumps(INFO).replace("300", "1e999").encode(),
        json.dumps(INFO).replace("300", "9" * 5000).encode(),
        json.dumps(INFO).replace("300", "-1").encode(),
        json.dumps(INFO).replace("a" * 64, "../" + "a" * 61).encode(),
        json.dumps(INFO).encode("utf-16"),
        b"\xff\xfe",
        b"null",
        b"",
    ],
)
def test_json_that_is_not_plain_is_refused(hostile, http, body):
    assert "not a Hushtune service" in refusal(hostile(http(body)).url)


def test_a_redirect_is_not_followed(hostile, http):
    elsewhere = hostile(http(json.dumps(INFO).encode()))
    for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
        server = hostile(http(b"", f"Location: {elsewhere.url}/v1/info", status=status))
        assert f"refused ({status[:3]})" in refusal(server.url, token="secret")
    assert not elsewhere.requests


def test_cookies_are_not_sent_back(hostile, http):
    server = hostile(http(json.dumps(INFO).encode(), "Set-Cookie: who=you; Path=/"))
    with RemoteClient(server.url) as remote:
        remote.info()
        remote.info()
    assert len(server.requests) == 2 and b"who=you" not in server.requests[1]


def test_an_errors_text_cannot_command_a_terminal(hostile, http):
    body = json.dumps({"error": {"code": "x", "message": "a\x1b[2Jb\nc" + "d" * 900}}).encode()
    told = refusal(hostile(http(body, status="404 Not Found")).url)
    assert "refused (404): a [2Jb c" in told
    assert told.isprintable() and len(told) < 600


@pytest.mark.parametrize("pause", ["²", "9" * 400, "Fri, 27 Nov 2026 10:00:00 -0000", "soon", "-1"])
def test_a_strange_wish_to_be_asked_later_is_survived(hostile, http, monkeypatch, pause):
    monkeypatch.setattr("hushtune.client.transport.PATIENCE_SECONDS", 0.2)
    server = hostile(http(b"", f"Retry-After: {pause}", status="503 Busy"))
    assert "refused (503)" in refusal(server.url)


def test_a_full_hour_is_told_and_not_waited_for(hostile, http):
    body = json.dumps({"error": {"code": "hour_is_full", "message": "Enough."}}).encode()
    server = hostile(http(body, "Retry-After: 60", status="429 Too Many Requests"))
    started = time.monotonic()
    assert "refused (429): Enough." in refusal(server.url)
    assert time.monotonic() - started < 5 and len(server.requests) == 1


def test_a_refused_connection_fails_at_once():
    started = time.monotonic()
    assert "cannot be reached" in refusal("http://127.0.0.1:9")
    assert time.monotonic() - started < 1


def test_a_proxy_is_not_asked_for_this_machine(hostile, http, monkeypatch):
    proxy = hostile(http(b"{}"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    with RemoteClient(hostile(http(json.dumps(INFO).encode())).url) as remote:
        assert remote.info().songs == 7
    assert not proxy.requests
    assert "the proxy that http_proxy names" in refusal_through_dead_proxy(monkeypatch)


def refusal_through_dead_proxy(monkeypatch) -> str:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return refusal("http://tunes.example:8714")


def test_a_closed_client_says_so(hostile, http):
    remote = RemoteClient(hostile(http(json.dumps(INFO).encode())).url)
    remote.close()
    remote.close()
    for call in (remote.info, remote.prepare, remote.forget, lambda: remote.identify("x.wav")):
        with pytest.raises(ServiceError, match="this client is closed"):
            call()


def test_an_upload_that_nobody_reads_is_given_up(hostile, monkeypatch):
    import asyncio

    from hushtune.client.address import Address
    from hushtune.client.transport import Transport

    monkeypatch.setattr("hushtune.client.transport.SLOWEST_BYTES_PER_SECOND", 100_000_000)

    async def send():
        transport = Transport(Address.parse(hostile(lambda _: time.sleep(30)).url), None, 0.5)

        async def body():
            for _ in range(100):
                yield bytes(1_000_000)

        try:
            await transport.request("POST", "/v1/keys", content=body, length=100_000_000)
        finally:
            await transport.close()

    started = time.monotonic()
    with pytest.raises(ServiceError, match="did not answer in time"):
        asyncio.run(send())
    assert time.monotonic() - started < 5
