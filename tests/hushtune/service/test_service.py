"""A live server: what clients send, what they get, what is refused and how."""

import asyncio
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.responses import Response

from hushtune.fhe.artifact import Artifact
from hushtune.fhe.envelope import Envelope
from hushtune.fhe.server import Server
from hushtune.service.api.context import ClientPart
from hushtune.service.bodies import Places
from hushtune.service.clients import Client
from hushtune.service.errors import Refusal
from hushtune.service.layout import Layout
from hushtune.service.metrics import Metrics
from hushtune.service.middleware import ErrorResponse, Observed
from hushtune.service.worker import Worker, WorkerSettings

ROOT = Path(__file__).parents[3]
OCTETS = {"Content-Type": "application/octet-stream"}


def error_of(answer) -> str:
    """The error's code; the answer must have the form all errors have."""
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}
    return answer.json()["error"]["code"]


def test_two_clients_at_once_get_their_own_answers(live, tiny_artifact, tiny_clips, alice, bob):
    local = Server(tiny_artifact)

    def ask(person, http):
        key = live.upload(person.keys)
        queries = [person.client.encrypt(path) for _, path in tiny_clips[:2]]
        ids = [live.submit(key, query, http).json()["id"] for query in queries]
        return queries, [live.response(i) for i in ids]

    with ThreadPoolExecutor(2) as pool:
        asked = list(pool.map(ask, (alice, bob), (live.http, live.elsewhere)))
    for person, (queries, responses) in zip((alice, bob), asked, strict=True):
        keys = local.load_keys(person.keys)
        for query, response in zip(queries, responses, strict=True):
            expected = person.client.decrypt_logits(local.run(query, keys))
            assert np.array_equal(person.client.decrypt_logits(response), expected)


def test_info_and_client_part_are_the_artifacts(live, tiny_artifact):
    manifest = json.loads((tiny_artifact / "manifest.json").read_text())
    info = live.http.get("/v1/info").json()
    assert info["artifact"] == manifest["id"] and info["songs"] == len(manifest["catalogue"])
    assert info["versions"] == manifest["versions"] and not info["tokens_required"]
    part = live.http.get("/v1/client-part")
    assert hashlib.sha256(part.content).hexdigest() == info["client_part"]["sha256"]
    assert part.headers["etag"] == f'"{info["client_part"]["sha256"]}"'
    with zipfile.ZipFile(io.BytesIO(part.content)) as archive:
        names = set(archive.namelist())
        assert names == {"manifest.json", "client/statistics.npy"}
        for name in names:
            assert archive.read(name) == (tiny_artifact / name).read_bytes()
    again = live.http.get("/v1/client-part", headers={"If-None-Match": part.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_keys_that_are_none_are_refused_and_not_stored(live, alice, tiny_artifact):
    before = live.files()
    artifact, key_id = bytes.fromhex(live.http.get("/v1/info").json()["artifact"]), bytes(16)
    payload = bytearray(alice.keys[86:])
    payload[40] ^= 1  # outside the random part: another parameter
    bad = {
        "empty": b"",
        "short": alice.keys[:50],
        "truncated": alice.keys[:500_000],
        "random": np.random.default_rng(0).bytes(100_000),
        "changed": alice.keys[:300_000] + bytes([alice.keys[300_000] ^ 1]) + alice.keys[300_001:],
        "a query": alice.query,
        "another artifact's": Envelope(b"E", bytes(32), key_id, b"x" * 1000).pack(),
        "another circuit's": Envelope(b"E", artifact, key_id, bytes(payload)).pack(),
        "rubbish within": Envelope(b"E", artifact, key_id, os.urandom(5000)).pack(),
    }
    for name, body in bad.items():
        answer = live.http.post("/v1/keys", content=body, headers=OCTETS)
        assert (answer.status_code, error_of(answer)) == (422, "unreadable"), name
    message = live.http.post("/v1/keys", content=bad["another artifact's"], headers=OCTETS).json()
    assert "made for artifact 000000000000" in message["error"]["message"]
    answer = live.http.post("/v1/keys", content=alice.keys[:5000])
    assert (answer.status_code, error_of(answer)) == (415, "content_type")
    assert sorted(live.files()) == sorted(before)


def test_queries_that_are_none_are_refused(live, alice, bob):
    key = live.upload(alice.keys)
    for name, (body, code) in alice.bad_queries(bob).items():
        answer = live.submit(key, body)
        assert (answer.status_code, error_of(answer)) == (422, code), name
    assert live.submit(key, alice.query + bytes(len(alice.query) + 1)).status_code == 413
    answer = live.submit("x" * 43, alice.query)
    assert (answer.status_code, error_of(answer)) == (404, "unknown_key")
    live.http.delete(f"/v1/keys/{key}")


def test_an_endless_upload_ends_at_the_limit_and_leaves_nothing(live, alice):
    before, limit = live.files(), live.http.get("/v1/info").json()["limits"]["evaluation_key_bytes"]
    sent = 0

    def endless():
        nonlocal sent
        yield alice.keys
        while True:
            sent += 1 << 20
            yield bytes(1 << 20)

    answer = live.http.post("/v1/keys", content=endless(), headers=OCTETS)
    assert (answer.status_code, error_of(answer)) == (413, "too_large")
    assert sent < 2 * limit
    announced = b"Host: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 5000000000"
    with raw(live, b"POST /v1/keys HTTP/1.1\r\n" + announced + b"\r\n\r\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413"), "before a byte of it is sent"
    assert sorted(live.files()) == sorted(before)


def raw(live, head: bytes) -> socket.socket:
    host, port = live.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(head)
    return connection


def test_stalled_and_crawling_uploads_are_given_up(live, alice, wait_for):
    head = (
        b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: %d\r\n\r\n" % len(alice.keys)
    ) + alice.keys[:1000]
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        raw(live, head) as stalled,
        raw(live, head) as crawling,
        raw(live, b"") as silent,
        raw(live, whole + b"GET /healthz HTTP/1.1\r\n") as second,
    ):
        stop = threading.Event()

        def crawl():
            second.sendall(b"X: ")
            while not stop.wait(0.2):
                for connection in (crawling, second):
                    with suppress(OSError):
                        connection.sendall(b"x")

        thread = threading.Thread(target=crawl)
        thread.start()
        assert b"upload_stalled" in read_all(stalled)
        assert b"upload_slow" in read_all(crawling)
        assert read_all(silent) == b"", "a connection without a request is closed"
        assert read_all(second).count(b"HTTP/1.1 200") == 1, "and one whose head crawls"
        stop.set()
        thread.join()
    with raw(live, head):
        pass  # broken off
    wait_for(lambda: not [f for f in live.files() if f.suffix == ".keys"])


def read_all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def test_a_full_queue_refuses_and_says_when_to_come_back(live, alice, bob):
    mine, other = live.upload(alice.keys), live.upload(bob.keys)
    with live.frozen_worker():
        first = live.submit(mine, alice.query).json()["id"]
        live.wait_for_state(first, "running")
        waiting = [live.submit(mine, alice.query).json() for _ in range(2)]
        assert [w["position"] for w in waiting] == [1, 2]
        too_many = live.submit(mine, alice.query)
        assert (too_many.status_code, error_of(too_many)) == (429, "too_many_queries")
        last = live.submit(other, bob.query, live.elsewhere).json()
        assert last["position"] == 2, "another address has its turn before this one's second"
        assert live.state(waiting[1]["id"])["position"] == 3
        full = live.submit(other, bob.query, live.elsewhere)
        assert (full.status_code, error_of(full)) == (503, "queue_full")
        for answer in (too_many, full):
            assert int(answer.headers["retry-after"]) >= 1
        early = live.http.get(f"/v1/queries/{first}/response")
        assert (early.status_code, error_of(early)) == (409, "not_done")
        assert live.http.delete(f"/v1/queries/{waiting[0]['id']}").status_code == 204
        assert live.state(waiting[1]["id"])["position"] == 1
        assert live.http.get("/v1/keys/" + mine).status_code == 200, "it answers meanwhile"
    alice.client.decrypt(live.response(waiting[1]["id"]))
    bob.client.decrypt(live.response(last["id"]))
    assert live.http.get(f"/v1/queries/{waiting[0]['id']}").status_code == 404
    for key in (mine, other):
        live.http.delete(f"/v1/keys/{key}")


def test_a_deleted_query_leaves_the_queue_at_once(live, alice, wait_for):
    key = live.upload(alice.keys)

    def deleted() -> int:
        return [e["outcome"] for e in live.events("query")].count("deleted")

    before = deleted()
    with live.frozen_worker():
        running = live.submit(key, alice.query).json()["id"]
        live.wait_for_state(running, "running")
        for _ in range(5):  # the queue takes three
            answer = live.submit(key, alice.query)
            assert answer.status_code == 202, answer.text
            assert live.http.delete(answer.headers["location"]).status_code == 204
        wait_for(lambda: deleted() == before + 5, 10)
        live.submit(key, alice.query)
        assert live.http.delete(f"/v1/keys/{key}").status_code == 204
        wait_for(lambda: deleted() == before + 6, 10)


def test_keys_whose_client_has_gone_are_not_kept(live, alice, wait_for):
    before = live.files()
    head = (
        b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: %d\r\n\r\n" % len(alice.keys)
    )
    with live.frozen_worker():
        with raw(live, head + alice.keys):
            wait_for(lambda: [f for f in live.files() if f.stat().st_size == len(alice.keys)])
        time.sleep(0.3)
    wait_for(lambda: [e for e in live.events("request") if e["bytes_in"] == len(alice.keys)
                      and e.get("code") == "broken_off"])  # fmt: skip
    assert sorted(live.files()) == sorted(before)


def test_a_killed_worker_is_replaced_and_its_query_answered_with_an_error(live, alice, wait_for):
    key = live.upload(alice.keys)
    with live.frozen_worker() as pid:
        query = live.submit(key, alice.query).json()["id"]
        live.wait_for_state(query, "running")
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        failed = live.wait_for_state(query, "failed", "done")
        assert time.monotonic() - killed < 2
    assert failed["error"]["code"] == "worker_died"
    wait_for(lambda: live.worker() != pid)
    gone = live.http.get(f"/v1/queries/{query}/response")
    assert (gone.status_code, error_of(gone)) == (410, "worker_died")
    assert live.http.get("/readyz").status_code == 200
    again = live.submit(key, alice.query).json()["id"]
    alice.client.decrypt(live.response(again))
    assert "hushtune_workers_replaced 1.0" in live.http.get("/metrics").text


def test_a_worker_leaves_the_terminals_signals_to_the_server(live, alice):
    key, pid = live.upload(alice.keys), live.worker()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        query = live.submit(key, alice.query).json()["id"]
        live.wait_for_state(query, "running", "done")
        os.kill(pid, number)
        live.response(query)
    assert live.worker() == pid
    live.http.delete(f"/v1/keys/{key}")


def test_deleted_keys_take_everything_with_them(live, alice):
    before = set(live.files())
    key = live.upload(alice.keys)
    query = live.submit(key, alice.query).json()["id"]
    live.response(query)
    assert len(set(live.files()) - before) == 2
    assert live.http.delete(f"/v1/keys/{key}").status_code == 204
    assert not set(live.files()) - before
    for method, path in (
        ("GET", f"/v1/keys/{key}"),
        ("DELETE", f"/v1/keys/{key}"),
        ("GET", f"/v1/queries/{query}"),
        ("GET", f"/v1/queries/{query}/response"),
        ("DELETE", f"/v1/queries/{query}"),
    ):
        assert live.http.request(method, path).status_code == 404


def test_logs_and_records_hold_no_capability_and_no_ciphertext(live, alice):
    key = live.upload(alice.keys)
    query = live.submit(key, alice.query).json()["id"]
    live.response(query)
    live.http.get(f"/v1/keys/{key}/nowhere?token={key}")
    log = "".join(live.lines)
    assert [e["path"] for e in live.events("request")].count("/v1/queries/{query}/response")
    assert {"request", "status", "milliseconds", "bytes_in"} <= set(live.events("request")[-1])
    records = live.data / "store.sqlite3"
    with sqlite3.connect(records) as db:
        db.execute("PRAGMA wal_checkpoint")
        assert db.execute("SELECT COUNT(*) FROM keys").fetchone()[0]
    stored = records.read_bytes() + "".join(map(str, live.files())).encode()
    for secret in (key, query):
        assert secret not in log and secret.encode() not in stored
    assert len(max(live.lines, key=len)) < 1000
    assert not re.search("[0-9a-f]{60}", log)
    live.http.delete(f"/v1/keys/{key}")


def test_health_readiness_and_metrics(live):
    assert live.http.get("/healthz").json() == {"status": "ok"}
    assert live.http.get("/readyz").json()["workers"] == 1
    metrics = live.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    for name in ("hushtune_requests_total", "hushtune_query_seconds_bucket", "hushtune_key_bytes"):
        assert name in metrics.text
    unknown = live.http.get("/v1/nothing")
    assert (unknown.status_code, error_of(unknown)) == (404, "unknown_path")
    wrong = live.http.delete("/v1/keys")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert "HEAD" in live.http.delete("/v1/info").headers["allow"].split(", ")


def test_whoever_looks_is_told_what_this_is(live):
    root = live.http.get("/")
    assert root.headers["content-type"].startswith("text/plain") and "/openapi.json" in root.text


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/metrics", "/v1/info", "/v1/client-part", "/openapi.json"]
)
def test_head_answers_as_get_does(live, path):
    head, whole = live.http.head(path), live.http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert live.http.head("/v1/keys/x").status_code == 404


@pytest.mark.parametrize("path", ["/", "/v1/info", "/v1/nothing", "/v1/keys/x"])
def test_every_answer_forbids_what_a_browser_might_do_with_it(live, path):
    headers = live.http.get(path).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/healthz/", "/v1/info/", "/v1/keys/", "/v1/queries/x/"])
def test_a_foreign_host_is_not_echoed(live, path):
    answer = live.http.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, error_of(answer)) == (404, "unknown_path")
    assert "evil" not in str(answer.headers) + answer.text


def test_a_query_without_keys_is_refused_where_keys_are_needed(live, alice):
    assert live.http.get("/v1/info").json()["keys"] == "uploaded"
    answer = live.submit(None, alice.query)
    assert (answer.status_code, error_of(answer)) == (409, "keys_needed")


def test_queries_that_are_still_being_sent_have_a_share(live, alice, wait_for):
    key = live.upload(alice.keys)
    head = (
        b"POST /v1/keys/%s/queries HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n" % (key.encode(), len(alice.query))
    )
    with ExitStack() as stack:
        for _ in range(3):  # as many as may wait
            stack.enter_context(raw(live, head + alice.query[:100]))
        time.sleep(0.5)
        refused = live.submit(key, alice.query)
        assert (refused.status_code, error_of(refused)) == (429, "too_many_uploads")
        accepted = live.submit(key, alice.query, live.elsewhere)
        assert accepted.status_code == 202, accepted.text
    wait_for(lambda: live.submit(key, alice.query).status_code == 202, 20)
    live.http.delete(f"/v1/keys/{key}")


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


def test_unread_bodies_do_not_keep_it_from_answering(start_server):
    """The attack as it was found: 200 sockets, 256 descriptors, a byte now and then."""
    attacked = start_server("--workers", "1", ready=False, descriptors=256)
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    sockets: list[socket.socket] = []
    try:
        for _ in range(200):
            with suppress(OSError):
                sockets.append(raw(attacked, head))
        for _ in range(4):
            time.sleep(1)
            for connection in sockets:
                with suppress(OSError):
                    connection.sendall(b"x")
            assert attacked.elsewhere.get("/healthz", timeout=5).status_code == 200
        assert sum(map(is_open, sockets)) <= 64
    finally:
        for connection in sockets:
            connection.close()
    attacked.kill()


def test_a_made_up_method_makes_no_metric_of_its_own(live):
    answer = live.http.request("BREW", "/healthz")
    assert (answer.status_code, error_of(answer)) == (405, "unknown_method")
    metrics = live.http.get("/metrics").text
    assert 'method="(other)"' in metrics and "BREW" not in metrics + "".join(live.lines)


def test_too_many_requests_at_once_are_refused_but_the_health_check():
    async def scenario() -> tuple[list[httpx.Response], bytes]:
        release, metrics = asyncio.Event(), Metrics()

        async def app(scope, receive, send):
            if scope["path"] == "/slow":
                await release.wait()
            await Response("yes")(scope, receive, send)

        transport = httpx.ASGITransport(Observed(app, metrics, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            slow = asyncio.create_task(http.get("/slow"))
            await asyncio.sleep(0.05)
            answers = [await http.get("/v1/info"), await http.get("/healthz")]
            release.set()
            answers += [await slow, await http.get("/v1/info")]
        return answers, metrics.text()

    (refused, *answered), metrics = asyncio.run(scenario())
    assert (refused.status_code, error_of(refused)) == (503, "too_many_requests")
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.text for answer in answered] == ["yes"] * 3
    assert b'status="503"' in metrics


def test_one_client_takes_its_share_of_the_uploads():
    places = Places(4, 2, "key sets")
    with ExitStack() as stack:
        for owner in ("ann", "ann", "ben"):
            stack.enter_context(places.place(owner))
        for owner, status in (("ann", 429), ("ben", None), ("cid", 503)):
            if status is None:
                stack.enter_context(places.place(owner))
                continue
            with pytest.raises(Refusal) as refused, places.place(owner):
                pass
            assert refused.value.status == status and refused.value.retry_after
    with ExitStack() as stack:  # without tokens an address is one client
        for host in ("2001:db8::1", "2001:db8::2"):
            stack.enter_context(places.place(Client.at(host).share))
        with pytest.raises(Refusal), places.place(Client.at("2001:db8::3").share):
            pass
        stack.enter_context(places.place(Client.at("2001:db8:0:1::1").share))


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_may_come_again_is_told_when(status):
    assert ErrorResponse(Refusal(status, "code", "Words.")).headers["retry-after"] == "15"


def test_only_what_the_manifest_names_is_published(tiny_artifact, tmp_path):
    copy = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, copy)
    (copy / "client" / "notes.txt").write_text("private")
    (copy / "client" / "folder").mkdir()
    published = ClientPart.of(Artifact(copy, ("client",)))
    assert published == ClientPart.of(Artifact(tiny_artifact, ("client",)))
    with zipfile.ZipFile(io.BytesIO(published.data)) as archive:
        assert "client/notes.txt" not in archive.namelist()
    (copy / "signature.json").write_text("{}")
    signed = ClientPart.of(Artifact(copy, ("client",)))
    with zipfile.ZipFile(io.BytesIO(signed.data)) as archive:
        assert archive.read("signature.json") == b"{}"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{"])
def test_a_damaged_layout_file_is_written_again(text, tmp_path, monkeypatch):
    measured = Layout(10, ((0, 4),), "a")
    monkeypatch.setattr(Layout, "measure", lambda _: measured)
    path = tmp_path / "layout.json"
    path.write_text(text)
    assert Layout.kept(path, tmp_path) == measured
    assert Layout.from_json(path.read_text()) == measured
    assert os.listdir(tmp_path) == [path.name]


def test_a_worker_starts_in_spite_of_an_empty_layout_file(tiny_artifact, tmp_path):
    layout = tmp_path / "layout.json"
    layout.touch()
    worker = Worker(
        WorkerSettings(
            artifact=tiny_artifact, layout=layout, scratch=tmp_path, threads=1, keys_in_memory=1
        )
    )
    assert worker.layout == Layout.from_json(layout.read_text())


@pytest.mark.parametrize(
    "option", ["--port=99999", "--queue=0", "--key-days=-1", "--trusted-proxies=nonsense"]
)
def test_wrong_options_are_named(option, tiny_artifact):
    done = subprocess.run(
        [sys.executable, "-m", "hushtune", "serve", str(tiny_artifact), option],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1 and option.split("=")[0] in done.stderr
    assert "Traceback" not in done.stderr
