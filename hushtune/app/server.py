"""The page's own small server, on the user's machine, where the private key stays.

The page talks to this process alone, which holds the keys and sends ciphertext to the service.
Requests of other web sites are refused: those that change anything need a header that a foreign
page cannot send, and the Host must be this machine's (against DNS rebinding).
"""

import asyncio
import base64
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray

from hushtune.client import AsyncRemoteClient, Progress
from hushtune.fhe.answer import Answer
from hushtune.fhe.client import Client
from hushtune.model.audio import read_clip
from hushtune.model.decoding import SUFFIXES
from hushtune.model.features import MelPower
from hushtune.support.errors import HushtuneError

STATIC = Path(__file__).parent / "static"
LARGEST_CLIP_BYTES = 200_000_000
WAVEFORM_POINTS = 400
CIPHERTEXT_SIDE = 64
HEADER = "x-hushtune"
LOCAL_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
KEPT_CLIPS = 20
"""Finished identifications whose events can still be read."""
CLIPS_AT_ONCE = 4
"""Clips that may be read or identified at once; more are refused."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Identification:
    """One clip on its way: its events so far, and whoever waits for more."""

    events: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = False

    def tell(self, kind: str, **data: object) -> None:
        """Note an event and wake all readers."""
        self.events.append({"kind": kind, **data})
        self.done = kind in ("answer", "error")
        self.changed.set()

    async def follow(self) -> AsyncIterator[dict[str, Any]]:
        """All events, from the first, as they come."""
        sent = 0
        while True:
            while sent < len(self.events):
                yield self.events[sent]
                sent += 1
            if self.done:
                return
            self.changed.clear()
            await self.changed.wait()


def create_app(remote: AsyncRemoteClient) -> FastAPI:
    """The page's application.

    Args:
        remote: the client of the service; closed when the application ends.
    """
    running: dict[str, Identification] = {}
    tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await remote.close()

    app = FastAPI(
        title="Hushtune page",
        lifespan=lifespan,
        docs_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    reading = 0

    @app.middleware("http")
    async def only_this_page(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        if host not in LOCAL_HOSTS:
            response: Response = _refused(403, "This page answers on this machine alone.")
        elif request.method not in ("GET", "HEAD") and HEADER not in request.headers:
            response = _refused(403, "Only Hushtune's own page may ask this.")
        else:
            response = await call_next(request)
        response.headers.update(SECURITY_HEADERS)
        return response

    @app.api_route("/", methods=["GET", "HEAD"])
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.api_route("/api/status", methods=["GET", "HEAD"])
    async def status() -> JSONResponse:
        """What the service offers, and whether the keys are ready there."""
        try:
            info = await remote.info()
        except HushtuneError as error:
            return JSONResponse({"error": str(error)})
        return JSONResponse({"service": remote.url, "songs": info.songs})

    @app.post("/api/clips")
    async def identify(request: Request) -> JSONResponse:
        """Take a clip (the body, an audio file) and begin to identify it."""
        nonlocal reading
        if reading + len(tasks) >= CLIPS_AT_ONCE:
            return _refused(429, f"{CLIPS_AT_ONCE} clips are being identified. Wait for one.")
        suffix = Path(request.headers.get("x-name", "clip.wav")).suffix.lower()
        body = bytearray()
        reading += 1
        try:
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_CLIP_BYTES:
                    return _refused(413, f"A clip of over {LARGEST_CLIP_BYTES // 10**6} MB.")
        finally:
            reading -= 1
        name = secrets.token_urlsafe(16)
        clip = running[name] = Identification()
        for old in [key for key, one in running.items() if one.done][:-KEPT_CLIPS]:
            del running[old]
        task = asyncio.create_task(
            _identify(remote, bytes(body), suffix if suffix in SUFFIXES else ".wav", clip)
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return JSONResponse({"id": name}, status_code=202)

    @app.get("/api/clips/{name}/events")
    async def events(name: str) -> Response:
        """Server-sent events of an identification."""
        if name not in running:
            return _refused(404, "No such clip.")

        async def lines() -> AsyncIterator[str]:
            async for event in running[name].follow():
                yield f"data: {json.dumps(event)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


async def _identify(
    remote: AsyncRemoteClient, body: bytes, suffix: str, clip: Identification
) -> None:
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"clip{suffix}"
            path.write_bytes(body)

            def tell(progress: Progress) -> None:
                event = {k: v for k, v in asdict(progress).items() if k != "query"}
                if progress.query:
                    event["ciphertext"] = _ciphertext(progress.query)
                clip.tell("step", **event)

            tell(Progress("preparing"))
            client = await remote.prepare(tell)
            clip.tell("heard", **await asyncio.to_thread(_heard, client, path))
            answer = await remote.identify(path, on_progress=tell)
            clip.tell("answer", **_shown(answer))
    except HushtuneError as error:
        clip.tell("error", message=str(error).replace(f"{folder}/", ""))
    except Exception as error:
        clip.tell("error", message=f"Unexpected: {type(error).__name__}. See the terminal.")
        raise


def _heard(client: Client, path: Path) -> dict[str, Any]:
    """What the page draws of a clip: waveform, mel spectrogram, and the image to be encrypted."""
    front_end = client.artifact.front_end()
    rate = front_end.signal.sample_rate_hz
    wave, _ = read_clip(path, rate)
    parts = np.array_split(wave, min(WAVEFORM_POINTS, len(wave)))
    power = MelPower(front_end.signal)(wave)
    level = 10 * np.log10(power + 1e-10)
    image = front_end.picture(wave)[0]
    return {
        "seconds": len(wave) / rate,
        "waveform": [[float(part.min()), float(part.max())] for part in parts],
        "mel": _picture((level - level.max() + 70) / 70),
        "image": _picture((image + 4) / 8),
    }


def _picture(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Grey values for the page: [rows, columns] between 0 and 1, low bands first.

    0 where there is none (NaN); 1 to 255 elsewhere.
    """
    grey = np.nan_to_num(1 + 254 * np.clip(values, 0, 1), nan=0).astype(np.uint8)[::-1]
    data = base64.b64encode(np.ascontiguousarray(grey).tobytes()).decode()
    return {"rows": grey.shape[0], "columns": grey.shape[1], "data": data}


def _ciphertext(query: bytes) -> dict[str, Any]:
    side = min(CIPHERTEXT_SIDE, int(len(query) ** 0.5))
    start = (len(query) - side * side) // 2
    pixels = np.frombuffer(query, np.uint8, side * side, start).reshape(side, side)
    return _picture(pixels[::-1] / 255)


def _shown(answer: Answer) -> dict[str, Any]:
    data = answer.to_json()
    return {
        "text": answer.text,
        "unknown": answer.is_unknown,
        "unknown_probability": answer.unknown_probability,
        "matches": data["matches"],
        "notes": data["notes"],
        "costs": data["costs"],
    }
