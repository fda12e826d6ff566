"""Every state of a connection ends by itself: real sockets against uvicorn in a process of its own.

The application behind is a few lines, so that this takes no artifact.
"""

import re
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from hushtune.service.clients import Client, Proxies, network_of
from hushtune.service.connections import OTHER_DESCRIPTORS

SERVER = """
import asyncio, sys, uvicorn
from hushtune.service.clients import Proxies
from hushtune.service.connections import BACKLOG, Limits, allowed_connections, bounded
number, per_address, idle, proxies = sys.argv[1:]
proxies = Proxies(proxies)
limits = Limits(allowed_connections(int(number)), int(per_address), float(idle), 1e6, proxies)

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/computes":
        await asyncio.sleep(6)
    big = scope["path"] == "/big"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(400 if big else 1):
        body = bytes(250_000) if big else scope["client"][0].encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})

config = uvicorn.Config(app, http=bounded(limits), port=0, log_level="info", lifespan="off",
    backlog=BACKLOG, access_log=False, proxy_headers=bool(proxies.addresses),
    forwarded_allow_ips=proxies.addresses)
uvicorn.Server(config).run()
"""
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
UNREAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture
def serve():
    """Starts servers: the port."""
    started = []

    def start(number=512, per_address=512, idle=1.0, proxies="", descriptors=None) -> int:
        def limit() -> None:
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        words = [sys.executable, "-c", SERVER, *map(str, (number, per_address, idle, proxies))]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=limit)
        started.append(process)
        for line in process.stderr:
            if found := re.search(r"http://127.0.0.1:(\d+)", line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return int(found[1])
        raise AssertionError("it did not start")

    yield start
    for process in started:
        process.kill()
        process.wait()


def connect(port: int, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    connection.sendall(data)
    return connection


def answer(port: int, data: bytes = GET % b"/healthz", source: str = "127.0.0.1") -> bytes:
    with connect(port, data, source) as connection:
        received = chunk = connection.recv(4096)
        while chunk and not received.endswith((b"\r\n0\r\n\r\n", b"}")):
            received += (chunk := connection.recv(4096))
        return received


def seconds_until_closed(connection: socket.socket, drip: bytes = b"", limit: float = 20) -> float:
    """How long a server bears a client that sends a byte now and then, and reads what comes."""
    started = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - started < limit:
        with suppress(TimeoutError):
            try:
                connection.sendall(drip)
                if not connection.recv(1 << 16):
                    break
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
                break
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        pytest.param(b"", b"", id="nothing is sent"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"x", id="a head without an end"),
        pytest.param(GET % b"/", b"", id="an idle connection after an answer"),
        pytest.param(GET % b"/" + b"GET / HTTP/1.1\r\nX: ", b"x", id="a second head"),
        pytest.param(UNREAD, b"x", id="a body that nobody reads"),
        pytest.param(
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
            id="chunks that nobody reads",
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00", id="TLS"),
        pytest.param(b"\x00" * 1000, b"\x00", id="rubbish"),
    ],
)
def test_a_client_that_lets_the_server_wait_is_closed(serve, begin, drip):
    with connect(serve(), begin) as connection:
        assert seconds_until_closed(connection, drip) < 5


def test_a_flood_of_bytes_that_nobody_reads_is_closed(serve):
    head = UNREAD.replace(b"1000000", b"9000000000")
    with connect(serve(idle=60.0), head) as connection:
        sent, started = 0, time.monotonic()
        with suppress(OSError):
            while time.monotonic() - started < 10:
                sent += connection.send(bytes(1 << 20))
        assert sent < 100_000_000 and time.monotonic() - started < 5


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_take_its_answer_is_closed(serve, close):
    port = serve()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    with connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n")
        deadline = time.monotonic() + 10
        while _peers(port) and time.monotonic() < deadline:
            connection.recv(1)  # a byte now and then does not help
            time.sleep(0.1)
        assert not _peers(port)


def _peers(port: int) -> int:
    """Connections that the server holds."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def test_a_computation_and_a_patient_download_are_not_cut_off(serve):
    port = serve()
    with connect(port, GET % b"/computes") as connection:
        connection.settimeout(20)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    with connect(port, GET % b"/big") as connection:
        received = 0
        while received < 20_000_000:  # for longer than the server waits for a request
            received += len(connection.recv(1 << 20))
            time.sleep(0.05)
        assert received >= 20_000_000


@contextmanager
def _crowd(port: int, number: int, begin: bytes, source: str = "127.0.0.1"):
    """So many clients that send a byte every second; they connect again when they are closed."""
    stop, sockets = threading.Event(), []

    def one_round() -> None:
        for place in range(number):
            try:
                if len(sockets) <= place:
                    sockets.append(connect(port, begin, source))
                else:
                    sockets[place].sendall(b"x")
            except OSError:
                with suppress(OSError):
                    sockets[place] = connect(port, begin, source)

    def go_on() -> None:
        while not stop.wait(1):
            one_round()

    one_round()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for connection in sockets:
            connection.close()


@pytest.mark.parametrize("begin", [UNREAD, b"GET / HTTP/1.1\r\nX: ", b""])
@pytest.mark.parametrize("per_address", [64, 10_000])
def test_two_hundred_slow_clients_leave_room_for_others(serve, begin, per_address):
    port = serve(per_address=per_address, idle=60.0, descriptors=256)
    with _crowd(port, 200, begin):
        for _ in range(5):
            assert answer(port, source="127.0.0.2").endswith(b"127.0.0.2\r\n0\r\n\r\n")
            time.sleep(0.3)
        assert _peers(port) <= 256 - OTHER_DESCRIPTORS + 5


def test_one_address_has_its_share_of_the_connections(serve):
    port = serve(per_address=3, idle=60.0)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(port))
        refused = answer(port)
        assert refused.startswith(b"HTTP/1.1 503") and b"too_many_connections" in refused
        assert b"Retry-After: 5" in refused
        head, _, body = refused.partition(b"\r\n\r\n")
        assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
        assert answer(port, source="127.0.0.2").startswith(b"HTTP/1.1 200")
    time.sleep(0.5)
    assert answer(port).startswith(b"HTTP/1.1 200")


def test_a_trusted_proxy_tells_the_address_and_has_no_share(serve):
    forwarded = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\n\r\n"
    port = serve(per_address=3, idle=60.0, proxies="127.0.0.3, 10.0.0.0/8")
    with ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(connect(port, source="127.0.0.3"))
        told = answer(port, forwarded % b"9.9.9.9, 8.8.8.8, 10.1.2.3", "127.0.0.3")
        assert b"8.8.8.8" in told and b"9.9.9.9" not in told, "who wrote the first is not known"
        assert b"127.0.0.2" in answer(port, forwarded % b"9.9.9.9", "127.0.0.2")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_what_one_client_has(host, network):
    assert network_of(host) == network
    assert Client.at(host) == Client.at(host) and host not in Client.at(host).share
    assert Client.at("2001:db8:1:2::7") == Client.at("2001:db8:1:2:ffff::")
    assert Client.at("2001:db8:1:3::7") != Client.at("2001:db8:1:2::7")


def test_no_proxy_is_trusted_by_default():
    assert "127.0.0.1" not in Proxies("") and "127.0.0.1" in Proxies("127.0.0.0/8")
