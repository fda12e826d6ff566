import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from hushtune.support.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    parts = [np.ones(2_000_000) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_large_arrays_get_their_pages_from_the_system_only_once():
    faults = {}
    for mode in ("keep", "return"):
        done = subprocess.run([sys.executable, "-c", CODE, mode], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        faults[mode] = int(done.stdout)
    assert faults["keep"] < faults["return"] / 10
