"""Live servers: `hushtune serve` in a process of its own, real FHE, real files."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from hushtune.fhe.client import Client
from hushtune.fhe.envelope import Envelope

ROOT = Path(__file__).parents[2]
OCTETS = {"Content-Type": "application/octet-stream"}
WAIT_SECONDS = 180


class Live:
    """A running server, its log, and its folder for temporary files."""

    def __init__(
        self,
        artifact: Path,
        data: Path,
        temporary: Path,
        *options: str,
        descriptors: int | None = None,
    ):
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.data, self.temporary = data, temporary
        command = [sys.executable, "-m", "hushtune", "serve", str(artifact), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--data", str(data), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", "TMPDIR": str(temporary)},
            preexec_fn=limit if descriptors else None,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read_log, daemon=True).start()
        first = self.process.stdout.readline()
        assert "http://" in first, "".join(self.lines)
        self.url = re.search(r"http://\S+", first)[0]
        self.http = httpx.Client(base_url=self.url, timeout=WAIT_SECONDS)
        far = httpx.HTTPTransport(local_address="127.0.0.2")
        self.elsewhere = httpx.Client(base_url=self.url, timeout=WAIT_SECONDS, transport=far)

    def wait_until_ready(self) -> "Live":
        wait_for(lambda: self.http.get("/readyz").status_code == 200)
        return self

    def upload(self, keys: bytes, **headers: str) -> str:
        answer = self.http.post("/v1/keys", content=keys, headers={**OCTETS, **headers})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def submit(
        self,
        key: str | None,
        query: bytes,
        http: httpx.Client | None = None,
        **headers: str,
    ) -> httpx.Response:
        path = f"/v1/keys/{key}/queries" if key else "/v1/queries"
        return (http or self.http).post(path, content=query, headers={**OCTETS, **headers})

    def state(self, query: str, **headers: str) -> dict:
        return self.http.get(f"/v1/queries/{query}", headers=headers).json()

    def wait_for_state(self, query: str, *states: str, **headers: str) -> dict:
        return wait_for(lambda: (s := self.state(query, **headers))["state"] in states and s)

    def response(self, query: str, **headers: str) -> bytes:
        ended = self.wait_for_state(query, "done", "failed", **headers)
        assert ended["state"] == "done", ended
        answer = self.http.get(f"/v1/queries/{query}/response", headers=headers)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["content-length"]) == len(answer.content)
        return answer.content

    def events(self, name: str) -> list[dict]:
        return [e for e in map(json.loads, list(self.lines)) if e["event"] == name]

    def worker(self) -> int:
        """The process id of the worker that was ready last."""
        return self.events("worker ready")[-1]["pid"]

    @contextmanager
    def frozen_worker(self):
        """The worker computes nothing meanwhile."""
        pid = self.worker()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def files(self) -> list[Path]:
        """What lies in the data folder, but for records, locks and the workers' own folders."""
        return [
            path
            for path in self.data.rglob("*")
            if path.is_file()
            and not re.match("store|lock|layout|processes$", path.name)
            and not re.search("/worker-[0-9]+/", str(path))
        ]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.http.close()

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(WAIT_SECONDS)
        self.http.close()
        return code

    def _read_log(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)


def wait_for(condition, seconds: float = WAIT_SECONDS):
    """What `condition` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture(scope="session", name="wait_for")
def _wait_for():
    return wait_for


class Person:
    """A client with keys of its own, and a query."""

    def __init__(self, artifact: Path, clip: Path):
        self.client = Client(artifact)
        self.client.create_keys()
        self.keys = self.client.evaluation_keys()
        self.query = self.client.encrypt(clip)

    def bad_queries(self, other: "Person") -> dict[str, tuple[bytes, str]]:
        """Bodies that are no query of this person's, by name, each with the error they deserve."""
        artifact, key_id = self.client.artifact.id, self.client.key_id

        def sealed(content: bytes) -> bytes:
            return Envelope(b"Q", artifact, key_id, content).pack()

        return {
            "empty": (b"", "unreadable"),
            "truncated": (self.query[:-1], "unreadable"),
            "random": (os.urandom(len(self.query)), "unreadable"),
            "foreign": (other.query, "other_keys"),
            "longer within": (sealed(self.query[86:] + bytes(8)), "unreadable"),
            "shorter within": (sealed(self.query[86:-24]), "unreadable"),
            "rubbish within": (sealed(b"x" * 99), "unreadable"),
        }


@pytest.fixture(scope="session", name="person")
def _person():
    return Person


@pytest.fixture(scope="session")
def alice(tiny_artifact, tiny_clips):
    return Person(tiny_artifact, tiny_clips[0][1])


@pytest.fixture(scope="session")
def bob(tiny_artifact, tiny_clips):
    return Person(tiny_artifact, tiny_clips[1][1])


@pytest.fixture(scope="session")
def start_server(tiny_artifact, tmp_path_factory):
    """Starts servers; all are ended after the tests."""
    started: list[Live] = []
    layouts = tmp_path_factory.mktemp("layouts")
    temporary = tmp_path_factory.mktemp("temporary")

    def start(
        *options: str,
        data: Path | None = None,
        ready: bool = True,
        artifact: Path = tiny_artifact,
        descriptors: int | None = None,
    ) -> Live:
        data = data or tmp_path_factory.mktemp("service")
        data.mkdir(exist_ok=True)
        for path in layouts.glob("layout-*"):  # measured once for all servers
            shutil.copy(path, data)
        live = Live(artifact, data, temporary, *options, descriptors=descriptors)
        started.append(live)
        if ready:
            live.wait_until_ready()
            for path in data.glob("layout-*"):
                shutil.copy(path, layouts)
        return live

    yield start
    for live in started:
        if live.process.poll() is None:
            live.kill()


@pytest.fixture(scope="session")
def live(start_server):
    """A server without tokens that most tests share."""
    return start_server(
        *("--workers", "1", "--queue", "3", "--queue-per-client", "3", "--keys-in-memory", "2"),
        *("--idle-timeout", "2", "--slowest-upload", "1000", "--sweep-every", "1"),
        *("--queries-per-hour", "0", "--keys-per-client", "99"),
    )
