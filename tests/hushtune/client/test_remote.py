"""The client library against live servers."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hushtune.client import AsyncRemoteClient, RemoteClient
from hushtune.client.address import Address
from hushtune.client.keys import Renewal, ServiceKeys
from hushtune.client.transport import ATTEMPTS, Transport
from hushtune.fhe.client import Client
from hushtune.fhe.envelope import KEY_ID
from hushtune.folders import cache_folder, data_folder
from hushtune.support.errors import AudioError, KeyFileError, ServiceError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def deletions(live) -> int:
    """Queries that clients have asked to forget."""
    return sum(
        event["method"] == "DELETE" and event["path"] == "/v1/queries/{query}"
        for event in live.events("request")
    )


def test_a_clip_is_identified_and_every_step_is_told(live, tiny_clips, wait_for):
    steps, before = [], deletions(live)
    with RemoteClient(live.url) as remote, ExitStack() as frozen:

        def note(progress):
            steps.append(progress)
            if progress.step == "sending":
                frozen.enter_context(live.frozen_worker())
            if progress.step == "computing":
                frozen.close()

        answer = remote.identify(tiny_clips[0][1], on_progress=note)
    assert answer.text == tiny_clips[0][0]
    assert answer.costs.compute_seconds > 0 and answer.costs.response_bytes > 1000
    told = dict.fromkeys(progress.step for progress in steps if progress.step != "waiting")
    assert list(told) == [
        "preparing", "encrypting", "sending", "computing", "receiving", "decrypting", "done",
    ]  # fmt: skip
    sent = next(progress.query for progress in steps if progress.query)
    assert len(sent) == answer.costs.query_bytes
    assert max(p.sent_bytes for p in steps if p.step == "preparing") > 1e6, "the keys"
    assert len(list((cache_folder() / "client-parts").glob("*/*/manifest.json"))) == 1
    wait_for(lambda: deletions(live) == before + 1)


def test_an_identification_given_up_is_forgotten_by_the_service(live, tiny_clips, wait_for):
    before = deletions(live)

    async def give_up():
        async with AsyncRemoteClient(live.url) as remote:
            await remote.prepare()
            reached = asyncio.Event()

            def note(progress):
                if progress.step in ("waiting", "computing"):
                    reached.set()

            with live.frozen_worker():
                task = asyncio.create_task(remote.identify(tiny_clips[0][1], on_progress=note))
                await reached.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(give_up())
    wait_for(lambda: deletions(live) == before + 1)


def test_another_artifact_is_noticed_and_everything_made_anew(
    live, tiny_artifact, tiny_clips, tmp_path
):
    with RemoteClient(live.url) as remote:
        remote.prepare()
        right, (upload,) = remote._remote._client, remote._remote._keys.uploads()
        wrong = Client(tiny_artifact)
        wrong.artifact.manifest = wrong.artifact.manifest.model_copy(update={"name": "other"})
        wrong.create_keys()
        assert wrong.artifact.id != right.artifact.id
        for known in (upload, "x" * 43):  # the service refuses the query, or knows no such keys
            path = tmp_path / f"{known}.keys"
            wrong.save_keys(path)
            keys = ServiceKeys(path, live.url, wrong.artifact.id, Renewal())
            keys.take(wrong, lambda: wrong, queries=0)
            keys.note_upload(wrong.key_id, known)
            remote._remote._client, remote._remote._keys = wrong, keys
            remote._remote._served = wrong.artifact.id.hex()
            assert remote.identify(tiny_clips[0][1]).text == tiny_clips[0][0]
            assert remote._remote._client.artifact.id == right.artifact.id


def test_only_the_artifact_asked_for_is_taken(live):
    served = live.http.get("/v1/info").json()["artifact"]
    with RemoteClient(live.url, artifact=served[:16]) as remote:
        assert remote.prepare().artifact.id.hex() == served
    with (
        RemoteClient(live.url, artifact="0123456789abcdef") as remote,
        pytest.raises(ServiceError, match="but 0123456789abcdef was asked for"),
    ):
        remote.prepare()
    for pin in ("", "0123", "x" * 16, "0" * 65):
        with pytest.raises(ServiceError, match="expected 16 to 64 hexadecimal digits"):
            RemoteClient(live.url, artifact=pin)


def records() -> list[dict]:
    """What this user's clients noted of their keys."""
    folder = data_folder() / "keys" / "services"
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def test_keys_are_made_and_uploaded_once(live, tiny_clips):
    with RemoteClient(live.url) as remote:
        first = remote.prepare().key_id
    (record,) = records()
    assert record["service"] == live.url and record["key_id"] == first.hex()
    for path in (data_folder() / "keys" / "services").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    with RemoteClient(live.url) as remote:
        assert remote.prepare().key_id == first
        remote.identify(tiny_clips[0][1])
    (again,) = records()
    assert again == {**record, "queries": 1}


def test_keys_the_service_lost_are_uploaded_anew(live, tiny_clips):
    with RemoteClient(live.url) as remote:
        remote.prepare()
        (record,) = records()
        assert live.http.delete(f"/v1/keys/{record['upload']}").status_code == 204
        assert remote.identify(tiny_clips[0][1]).text == tiny_clips[0][0]
        (after,) = records()
        assert after["upload"] not in (record["upload"], None)
        assert after["key_id"] == record["key_id"]
        remote.forget()
        (gone,) = records()
        assert gone["upload"] is None
        assert live.http.get(f"/v1/keys/{after['upload']}").status_code == 404


def test_keys_are_renewed_after_so_many_queries_and_the_old_ones_deleted(live, tiny_clips):
    sent = []
    with RemoteClient(live.url, key_queries=2) as remote:
        for _ in range(5):
            answer = remote.identify(
                tiny_clips[0][1], on_progress=lambda p: sent.append(p.query) if p.query else None
            )
            assert answer.text == tiny_clips[0][0]
        (record,) = records()
        ids = [query[KEY_ID] for query in sent]
        assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4] != ids[0]
        assert record["queries"] == 1 and record["retired"] == []
        assert record["key_id"] == ids[4].hex()
        assert live.http.get(f"/v1/keys/{record['upload']}").status_code == 200


def test_keys_are_renewed_after_so_many_days(live, tiny_clips):
    with RemoteClient(live.url) as remote:
        first = remote.prepare().key_id
        (path,) = (data_folder() / "keys" / "services").glob("*.json")
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "created": record["created"] - 6.9 * 86_400}))
        assert remote.prepare().key_id == first
        path.write_text(json.dumps({**record, "created": record["created"] - 7.1 * 86_400}))
        assert remote.prepare().key_id != first
        assert live.http.get(f"/v1/keys/{record['upload']}").status_code == 404


def test_one_key_set_is_never_used_at_two_services(live, tmp_path):
    other = live.url.replace("127.0.0.1", "localhost")
    with RemoteClient(live.url) as first, RemoteClient(other) as second:
        assert first.prepare().key_id != second.prepare().key_id
    assert len({record["key_id"] for record in records()}) == 2
    chosen = tmp_path / "my.keys"
    with RemoteClient(live.url, keys=chosen) as first:
        first.prepare()
    with (
        RemoteClient(other, keys=chosen) as second,
        pytest.raises(KeyFileError, match=f"were used at {live.url}"),
    ):
        second.prepare()


def test_two_clients_that_share_a_key_file_outlive_each_others_renewals(live, tiny_clips):
    """As two processes do, since nothing but the files is shared."""
    with (
        RemoteClient(live.url, key_queries=2) as first,
        RemoteClient(live.url, key_queries=2) as second,
    ):
        for _ in range(2):
            for remote in (first, second, second):
                assert remote.identify(tiny_clips[0][1]).text == tiny_clips[0][0]
    (record,) = records()
    assert record["queries"] == 2 and record["retired"] == []


def test_two_asynchronous_clients_at_once_do_not_mix(live, tiny_clips, tmp_path):
    async def both():
        async with (
            AsyncRemoteClient(live.url, keys=tmp_path / "a.keys") as first,
            AsyncRemoteClient(live.url, keys=tmp_path / "b.keys") as second,
        ):
            await first.prepare()
            return await asyncio.gather(
                first.identify(tiny_clips[0][1]), second.identify(tiny_clips[1][1])
            )

    answers = asyncio.run(both())
    assert [answer.text for answer in answers] == [name for name, _ in tiny_clips[:2]]


def test_a_client_waits_for_a_service_that_is_starting(start_server, tiny_clips, tmp_path):
    starting = start_server("--workers", "1", ready=False)
    assert starting.http.get("/readyz").status_code == 503
    with RemoteClient(starting.url, folder=tmp_path) as remote:
        assert remote.identify(tiny_clips[0][1]).text == tiny_clips[0][0]
    starting.kill()


def test_errors_say_what_to_do(live, tmp_path, monkeypatch):
    monkeypatch.setattr("hushtune.client.transport.FIRST_PAUSE_SECONDS", 0.01)
    with (
        RemoteClient("http://127.0.0.1:9") as remote,
        pytest.raises(ServiceError, match="cannot be reached .*hushtune serve"),
    ):
        remote.info()
    with RemoteClient(live.url) as remote, pytest.raises(AudioError, match="no such file"):
        remote.identify(tmp_path / "none.wav")


@pytest.fixture
def scripted(monkeypatch):
    """A server that answers by a script, a line a request: (status, headers, body), or None."""
    monkeypatch.setattr("hushtune.client.transport.FIRST_PAUSE_SECONDS", 0.01)
    script, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, time.monotonic()))
            line = script.pop(0)
            if line is None:
                self.connection.close()
                return
            status, headers, body = line
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", script, asked
    server.shutdown()


INFO = json.dumps(
    {
        "service": "hushtune",
        "api": 1,
        "artifact": "a" * 64,
        "client_part": {"sha256": "b" * 64},
        "limits": {"query_timeout_seconds": 300},
    }
).encode()


def test_busy_services_and_broken_connections_are_asked_again(scripted):
    url, script, asked = scripted
    script += [(503, {"Retry-After": "1"}, b"busy"), None, (502, {}, b""), (200, {}, INFO)]
    with RemoteClient(url) as remote:
        assert remote.info().artifact == "a" * 64
    times = [when for _, when in asked]
    assert len(times) == 4 and times[1] - times[0] >= 1.0 and times[3] - times[1] < 1.0


def test_a_stalled_connection_is_tried_again_but_not_for_ever(scripted):
    url, script, asked = scripted
    script += [(408, {}, b"too slow"), (200, {}, INFO)]
    with RemoteClient(url) as remote:
        assert remote.info().artifact == "a" * 64
    assert len(asked) == 2
    script += [(408, {}, b"too slow")] * 20
    with RemoteClient(url) as remote, pytest.raises(ServiceError, match=r"refused \(408\)"):
        remote.info()
    assert len(asked) == 2 + ATTEMPTS


def test_a_response_that_breaks_off_is_read_again(scripted):
    url, script, asked = scripted
    script += [(200, {"Content-Length": "10"}, b"half"), (200, {}, b"whole body")]

    async def read():
        transport = Transport(Address.parse(url), None, 10)
        try:
            return (await transport.request("GET", "/x", limit=100)).body
        finally:
            await transport.close()

    assert asyncio.run(read()) == b"whole body"
    script += [(200, {}, b"x" * 101)]
    with pytest.raises(ServiceError, match="more than 100 bytes"):
        asyncio.run(read())


def test_a_service_that_stays_busy_is_given_up(scripted, monkeypatch):
    url, script, asked = scripted
    monkeypatch.setattr("hushtune.client.transport.PATIENCE_SECONDS", 1.0)
    body = b'{"error": {"code": "queue_full", "message": "Too many wait."}}'
    script += [(503, {"Retry-After": "7"}, body)]
    with RemoteClient(url) as remote, pytest.raises(ServiceError, match="Too many wait"):
        remote.info()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", INFO.replace(b"hushtune", b"other"), INFO.replace(b"a" * 64, b"../")]
)
def test_other_services_are_told_from_ours(scripted, body):
    url, script, _ = scripted
    script += [(200, {}, body)]
    with RemoteClient(url) as remote, pytest.raises(ServiceError, match="not a Hushtune service"):
        remote.info()


def test_identify_from_the_command_line(live, tiny_clips, tmp_path):
    command = [sys.executable, "-m", "hushtune", "identify", "--server", live.url, "--json"]
    paths = [str(path) for _, path in tiny_clips[:2]]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for answer, (expected, _) in zip(answers, tiny_clips, strict=False):
        got = "unknown" if answer["is_unknown"] else answer["matches"][0]["title"]
        assert got in expected and answer["mode"] == "server"
    wrong = subprocess.run([*command, "--fhe", "clear", paths[0]], capture_output=True, text=True)
    assert wrong.returncode == 1 and "real FHE only" in wrong.stderr


def test_the_guides_example_runs(live, tiny_clips, tmp_path, monkeypatch, capsys):
    guide = (ROOT / "docs/how-to/ask-from-an-app.md").read_text("utf-8")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", guide, re.S) if "RemoteClient(" in b]
    block = block.replace(', token="..."', "")
    (tmp_path / "clip.wav").symlink_to(tiny_clips[0][1])
    monkeypatch.chdir(tmp_path)
    exec(compile(block.replace("https://tunes.example", live.url), "guide", "exec"), {})
    printed = capsys.readouterr().out.strip()
    assert printed and tiny_clips[0][0].endswith(f" - {printed}")


def test_listening_without_a_microphone_is_explained(live, monkeypatch):
    from hushtune.microphone import record

    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match="PortAudio"):
        record(1.0)


def test_the_package_has_its_page(tmp_path):
    static = Path(__file__).parents[3] / "hushtune" / "app" / "static"
    assert {path.name for path in static.iterdir()} == {
        "index.html", "page.js", "recorder.js", "style.css",
    }  # fmt: skip
    assert (
        shutil.which("node") is None
        or not subprocess.run(
            ["node", "--check", static / "page.js"], capture_output=True
        ).returncode
    )
