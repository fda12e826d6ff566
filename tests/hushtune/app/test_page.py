"""The page in real Chromium, against a live server with real FHE."""

import os
import re
import shutil
import subprocess
import sys
import threading

import httpx
import pytest
import soundfile

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or sync_playwright is None, reason="Chromium or playwright is not installed"
)


@pytest.fixture(scope="module")
def page_url(live, tmp_path_factory):
    """The page's address; `hushtune app` in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    command = [sys.executable, "-m", "hushtune", "app", "--server", live.url, "--no-open"]
    process = subprocess.Popen(
        [*command, "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    )
    line = next(text for text in process.stderr if "http://" in text)
    threading.Thread(target=process.stderr.read, daemon=True).start()
    address = re.search(r"http://\S+", line)[0]
    yield address
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def microphone(tiny_clips, tmp_path_factory):
    """A WAV file that Chromium plays into its fake microphone: the first clip, over and over."""
    samples, rate = soundfile.read(tiny_clips[0][1])
    path = tmp_path_factory.mktemp("microphone") / "clip.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(microphone):
    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ],
        )
        yield browser
        browser.close()


@needs_chromium
def test_a_chosen_file_is_identified_and_shown(browser, page_url, tiny_clips):
    expected, path = tiny_clips[0]
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(page_url)
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#answer:not([hidden])", timeout=120_000)
    assert page.inner_text("#name") == expected
    assert page.locator("#matches li").count() == 3
    assert "Sent" in page.inner_text("#notes")
    assert page.is_visible("#cipher") and page.is_visible("#mel")
    assert page.evaluate("document.activeElement.id") == "name"  # a screen reader reads it out
    dark = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(dark)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(dark) != light
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not problems


@needs_chromium
def test_the_microphone_is_heard(browser, page_url, tiny_clips):
    page = browser.new_page()
    page.goto(page_url)
    page.focus("#listen")
    page.keyboard.press("Enter")
    page.wait_for_selector("#level:not([hidden])")
    assert page.get_attribute("#listen", "aria-disabled") == "true"
    assert page.evaluate("document.activeElement.id") == "listen", "the keyboard stays where it was"
    assert "Listening" in page.inner_text("#live")
    page.keyboard.press("Enter")  # a second time changes nothing
    page.wait_for_selector("#answer:not([hidden])", timeout=120_000)
    assert page.inner_text("#name") == tiny_clips[0][0]
    assert page.inner_text("#seconds").startswith("10")


@needs_chromium
def test_a_microphone_that_is_refused_is_told_and_can_be_tried_again(browser, page_url):
    page = browser.new_page()
    page.goto(page_url)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('no', 'NotAllowedError')); }"
    )
    page.click("#listen")
    page.wait_for_selector("#problem:not([hidden])")
    assert "NotAllowedError" in page.inner_text("#problem")
    assert page.get_attribute("#listen", "aria-disabled") == "false"


@needs_chromium
def test_what_is_not_audio_is_told(browser, page_url, tmp_path):
    (tmp_path / "text.mp3").write_text("not audio")
    page = browser.new_page()
    page.goto(page_url)
    page.set_input_files("#file", str(tmp_path / "text.mp3"))
    page.wait_for_selector("#problem:not([hidden])", timeout=60_000)
    assert "not audio that can be decoded" in page.inner_text("#problem")
    assert str(tmp_path) not in page.inner_text("#problem")


def test_other_sites_cannot_use_the_page(page_url):
    assert httpx.post(f"{page_url}api/clips", content=b"x").status_code == 403
    foreign = httpx.get(page_url, headers={"Host": "evil.example"})
    assert foreign.status_code == 403


def test_a_taken_port_is_told(page_url, live):
    port = page_url.rsplit(":", 1)[1].strip("/")
    command = [sys.executable, "-m", "hushtune", "app", "--server", live.url, "--port", port]
    done = subprocess.run([*command, "--no-open"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "cannot listen there" in done.stderr
    assert "Traceback" not in done.stderr
