"""What editors and type checkers see of the public names."""

import subprocess
import sys
from pathlib import Path

import hushtune

ROOT = Path(__file__).parents[2]
ROOMS = ("support", "configs", "model", "training", "fhe", "eval")


def test_every_public_name_has_a_type(tmp_path):
    """The installed layout is linked together, since the checkout maps rooms by its settings."""
    package = tmp_path / "tree" / "hushtune"
    package.mkdir(parents=True)
    for path in (ROOT / "hushtune").iterdir():
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room)
    names = [*hushtune.__all__, "__version__"]
    lines = ["import hushtune", *(f"reveal_type(hushtune.{name})" for name in names)]
    (tmp_path / "tree" / "user.py").write_text("\n".join(lines) + "\n")
    shown = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py", "--follow-imports=silent",
         "--ignore-missing-imports", "--no-namespace-packages", f"--cache-dir={tmp_path / 'cache'}",
         "--config-file="],
        capture_output=True, text=True, cwd=tmp_path / "tree",
    )  # fmt: skip
    revealed = [line.split("Revealed type is ")[1] for line in shown.stdout.splitlines()
                if "Revealed type is " in line]  # fmt: skip
    assert len(revealed) == len(names), shown.stdout
    for name, kind in zip(names, revealed, strict=True):
        assert "Any" not in kind.split("->")[-1], f"{name}: {kind}"
