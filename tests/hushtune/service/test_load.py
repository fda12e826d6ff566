"""The load test, and the memory of a server over many queries.

``HUSHTUNE_LOAD_QUERIES=200`` makes more of them.
"""

import json
import os
import subprocess
import sys

import pytest

from hushtune.service.load import measure_load
from hushtune.support.errors import ServiceError

QUERIES = int(os.environ.get("HUSHTUNE_LOAD_QUERIES", "60"))


@pytest.mark.slow
def test_memory_stays_flat_over_many_queries(tiny_artifact):
    (row,) = measure_load(tiny_artifact, clients=[1], queries=QUERIES, options=["--workers=1"])
    assert row.queries == QUERIES
    assert 0 < row.compute_seconds <= row.p50_seconds <= row.p95_seconds
    assert row.queries_a_minute == pytest.approx(60 / row.p50_seconds, rel=0.5)
    assert 50e6 < row.server_bytes < 2e9 and 50e6 < row.worker_bytes < 4e9
    # from the second quarter to the last it's half of the queries
    response_bytes = json.loads((tiny_artifact / "manifest.json").read_text())["costs"][
        "response_bytes"
    ]
    assert row.growth_bytes < QUERIES * response_bytes / 2, "about as if responses were kept"


@pytest.mark.slow
def test_a_table_for_several_numbers_of_clients(tiny_artifact):
    command = [sys.executable, "-m", "hushtune", "load-test", str(tiny_artifact), "--json"]
    done = subprocess.run(
        [*command, *("--clients", "1", "--clients", "3", "--queries", "2", "--workers", "1")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["clients"] for row in rows] == [1, 3]
    assert [row["queries"] for row in rows] == [2, 6]
    assert rows[1]["p50_seconds"] > rows[0]["p50_seconds"], "three share one worker"


def test_a_server_that_does_not_start_is_explained(tmp_path):
    with pytest.raises(ServiceError, match="did not start: .*no artifact lies here"):
        measure_load(tmp_path, clients=[1], queries=1)
