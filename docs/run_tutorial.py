"""Run the tutorial's code in order, and write what it prints and draws into the tutorial.

    python docs/run_tutorial.py           # renew outputs and pictures (minutes)
    python docs/run_tutorial.py --check   # run everything, change nothing

The code runs in an empty folder, as a reader would start it, in one Python session.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import tempfile
from datetime import date
from pathlib import Path

DOCS = Path(__file__).parent
TUTORIAL = DOCS / "tutorial" / "recognizer.md"
PICTURES = TUTORIAL.parent
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n.*?```\n)?", re.S)
MACHINE = re.compile(r"(?<=<!-- machine -->).*?(?=<!-- end -->)", re.S)


def run_blocks(text: str, folder: Path) -> list[str]:
    """What each block prints.

    Args:
        text: the tutorial.
        folder: where its code runs; pictures are left there.
    """
    names: dict = {"__name__": "__main__"}
    printed = []
    here = Path.cwd()
    os.chdir(folder)
    try:
        for number, block in enumerate(BLOCK.finditer(text), 1):
            code = compile(block["code"], f"{TUTORIAL.name}, block {number}", "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, names)
            printed.append("\n".join(line.rstrip() for line in out.getvalue().splitlines()))
    finally:
        os.chdir(here)
    return printed


def with_outputs(text: str, printed: list[str]) -> str:
    """The tutorial with what its blocks printed below each."""
    outputs = iter(printed)

    def block(match: re.Match) -> str:
        output = next(outputs)
        shown = f"\n```text\n{output}\n```\n" if output else ""
        return f"```python\n{match['code']}```\n{shown}"

    return BLOCK.sub(block, text)


def main() -> None:
    """See the module's docstring."""
    from hushtune.support.machine import this_machine

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    text = TUTORIAL.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        printed = run_blocks(text, Path(folder))
        if check:
            return
        for picture in Path(folder).glob("*.png"):
            shutil.copy(picture, PICTURES / picture.name)
    m = this_machine()
    ran = f"{date.today()}, {m.cores} cores ({m.processor})"
    TUTORIAL.write_text(MACHINE.sub(ran, with_outputs(text, printed)), "utf-8")


if __name__ == "__main__":
    main()
