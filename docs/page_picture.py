"""Draw docs/page.png: the page in real Chromium, on an artifact and a clip, under real FHE.

``python docs/page_picture.py runs/demo/artifact clip.wav docs/page.png [--dark] [--phone]``
needs the package `playwright` and Debian's `chromium`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack

from playwright.sync_api import sync_playwright


def start(stack: ExitStack, *words: str) -> str:
    """Start a hushtune command that says where it listens; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hushtune", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for line in process.stdout:
        if found := re.search(r"http://[\d.:]+", line):
            return found[0]
    raise SystemExit(f"hushtune {words[0]} did not start")


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact")
    parser.add_argument("clip")
    parser.add_argument("picture")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        server = start(stack, "serve", given.artifact, "--port", "0", "--data", data)
        page_at = start(stack, "app", "--server", server, "--no-open", "--port", "0")
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        page = browser.new_page(
            viewport={"width": 390 if given.phone else 900, "height": 800},
            color_scheme="dark" if given.dark else "light",
        )
        page.goto(page_at)
        page.set_input_files("#file", given.clip)
        page.wait_for_selector(":is(#answer, #problem):not([hidden])", timeout=100_000)
        if page.is_visible("#problem"):
            raise SystemExit(page.inner_text("#problem"))
        page.screenshot(path=given.picture, full_page=True)
    print(given.picture)


if __name__ == "__main__":
    main()
