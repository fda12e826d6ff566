"""The page's server by itself, with a stand-in for the service's client."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from hushtune.app.server import CLIPS_AT_ONCE, HEADER, STATIC, create_app
from hushtune.support.errors import ServiceError

OWN = {HEADER: "1"}


class SlowRemote:
    """A client whose preparations take until they are allowed to fail."""

    url = "http://service"

    def __init__(self):
        self.go_on = asyncio.Event()

    async def prepare(self, _):
        await self.go_on.wait()
        raise ServiceError("the service is gone")

    async def info(self):
        return SimpleNamespace(songs=7)

    async def close(self):
        pass


@pytest.fixture
def ask():
    """Runs a scenario with an HTTP client of the page's server, and the remote behind it."""

    def run(scenario):
        async def whole():
            remote = SlowRemote()
            transport = httpx.ASGITransport(create_app(remote))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await asyncio.wait_for(scenario(http, remote), 20)

        return asyncio.run(whole())

    return run


def test_what_a_browser_may_load_is_the_pages_own(ask):
    async def scenario(http, _):
        paths = ("/", "/static/page.js", "/api/status", "/nothing", "/api/clips/x/events")
        answers = [await http.get(path) for path in paths]
        return [*answers, await http.get("/", headers={"Host": "evil.example"})]

    answers = ask(scenario)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404, 403]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_page_itself_keeps_its_policy():
    for path in STATIC.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", text)
        assert not re.search(r"https?://", text)
    for path in Path(STATIC).glob("*.js"):
        assert not re.search(r"\beval\(|innerHTML|new Function|https?://", path.read_text())


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/status"])
def test_head_answers_as_get_does(ask, path):
    async def scenario(http, _):
        return await http.head(path), await http.get(path)

    head, whole = ask(scenario)
    assert head.status_code == 200 and head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("path", ["/api/status/", "/api/clips/"])
def test_a_slash_too_many_redirects_nowhere(ask, path):
    async def scenario(http, _):
        return await http.get(path)

    assert ask(scenario).status_code == 404


def test_some_clips_at_once_and_no_more(ask):
    async def scenario(http, remote):
        async def post():
            return await http.post("/api/clips", content=b"x", headers=OWN)

        taken = [await post() for _ in range(CLIPS_AT_ONCE)]
        refused = await post()
        remote.go_on.set()
        events = await http.get(f"/api/clips/{taken[0].json()['id']}/events")
        await asyncio.sleep(0.1)
        return taken, refused, events, await post()

    taken, refused, events, later = ask(scenario)
    assert [answer.status_code for answer in taken] == [202] * CLIPS_AT_ONCE
    assert refused.status_code == 429 and "clips are being identified" in refused.json()["error"]
    assert "the service is gone" in events.text
    assert later.status_code == 202, "there is room again"


def test_clips_that_are_still_coming_count_too(ask):
    async def scenario(http, _):
        arrived, end = asyncio.Event(), asyncio.Event()
        coming = 0

        async def body():
            nonlocal coming
            yield b"x"
            coming += 1
            if coming == CLIPS_AT_ONCE:
                arrived.set()
            await end.wait()

        posts = [
            asyncio.create_task(http.post("/api/clips", content=body(), headers=OWN))
            for _ in range(CLIPS_AT_ONCE)
        ]
        await arrived.wait()
        refused = await http.post("/api/clips", content=b"x", headers=OWN)
        end.set()
        return refused, await asyncio.gather(*posts)

    refused, taken = ask(scenario)
    assert refused.status_code == 429
    assert {answer.status_code for answer in taken} == {202}


def test_other_sites_are_refused_before_anything_is_read(ask):
    async def scenario(http, _):
        return await http.post("/api/clips", content=b"x")

    assert ask(scenario).status_code == 403
