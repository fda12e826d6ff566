"""What a client loads: neither torch nor what trains, exports or evaluates."""

import subprocess
import sys

import pytest

FORBIDDEN = ("torch", "brevitas", "sklearn", "concrete.ml", "joblib", "matplotlib", "scipy.signal",
             "hushtune.training", "hushtune.eval", "hushtune.fhe.export")  # fmt: skip


def loaded_after(code: str) -> list[str]:
    """Forbidden modules that a process has loaded after some code."""
    names = f"[n for n in sys.modules if any((n + '.').startswith(f + '.') for f in {FORBIDDEN})]"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('LOADED', *{names})"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("LOADED")[2].split()


@pytest.mark.parametrize(
    "module", ["fhe.client", "fhe.server", "client.remote", "client.part", "recognizer", "cli"]
)
def test_the_clients_path_loads_no_training(module):
    assert loaded_after(f"import hushtune.{module}") == []


def test_identifying_a_clip_loads_no_training(linear_artifact, tiny_clips):
    code = f"""
from hushtune import Recognizer
answer = Recognizer({str(linear_artifact)!r}).identify({str(tiny_clips[0][1])!r})
assert answer.costs.query_bytes > 1000
"""
    assert loaded_after(code) == []


def test_the_look_finds_what_is_loaded():
    """Else the tests above could not fail."""
    assert "torch" in loaded_after("import torch")
