"""Run `hushtune demo` in an empty folder, and put what it prints and draws into README and docs.

python docs/run_demo.py   # minutes
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from hushtune.eval.report.markdown import replace_part
from hushtune.support.machine import this_machine

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- demo: written by docs/run_demo.py -->", "<!-- end of demo -->"
FILES = re.compile(r"^(spectrogram|artifact) .*\n?", re.M)


def transcript(printed: str, when: str) -> str:
    """The README's part: what the demo ended with, without the paths of the machine it ran on."""
    shown = FILES.sub("", printed).strip("\n")
    return f"What `make demo` ends with ({when}):\n\n```\n{shown}\n```"


def run(folder: Path) -> str:
    """Run the demo in an empty folder; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "hushtune", "demo"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def main() -> None:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as folder:
        printed = run(Path(folder))
        shutil.copy(Path(folder) / "runs" / "demo" / "query.png", DOCS / "query.png")
    m = this_machine()
    when = f"{m.cores} cores of an {m.processor}, {date.today()}"
    replace_part(README, BEGIN, END, transcript(printed, when) + "\n")


if __name__ == "__main__":
    main()
