import json
import os
import time

import pytest

from hushtune.eval.bench.size import measure_costs
from hushtune.support.errors import ConfigError

CORES = sorted({1, len(os.sched_getaffinity(0))})


@pytest.fixture(scope="module")
def measured(tiny_config, tmp_path_factory):
    """(folder, rows) of two small catalogues under real FHE."""
    folder = tmp_path_factory.mktemp("costs")
    said = []
    rows = measure_costs(tiny_config, [3, 5], folder, cores=CORES, queries=1, announce=said.append)
    assert len(said) == len(rows)
    return folder, rows


@pytest.mark.slow
def test_rows_are_plausible(measured):
    _, rows = measured
    small, *large = rows
    assert [row.error for row in rows] == [None] * len(rows)
    assert (small.songs, small.cores) == (3, CORES[-1])
    assert [(row.songs, row.cores) for row in large] == [(5, cores) for cores in CORES]
    for row in rows:
        costs = row.model_dump(exclude={"error", "weights", "concrete_seconds"})
        assert row.concrete_seconds is None, "it has look-ups"
        assert all(value > 0 for value in costs.values()), costs
        assert min(row.client_peak_bytes, row.server_peak_bytes) > 50e6
        assert row.pbs == small.pbs
        assert row.compute_cpu_seconds < 1.5 * row.cores * row.compute_seconds + 0.1
    # a ciphertext a logit: songs and "unknown"
    assert all(
        row.response_bytes == pytest.approx(small.response_bytes * 6 / 4, rel=0.1) for row in large
    )


@pytest.mark.slow
def test_a_peak_of_memory_is_the_roles_own(measured):
    """Not that of the process which started it, as ru_maxrss would be."""
    _, rows = measured
    assert len({row.server_peak_bytes for row in rows}) > 1
    assert all(row.server_peak_bytes < 3e9 for row in rows)


@pytest.mark.slow
def test_without_look_ups_concretes_own_code_is_timed_beside(tiny_config, tmp_path):
    network = tiny_config.network.model_copy(update={"layers": ()})
    config = tiny_config.model_copy(update={"network": network})
    (row,) = measure_costs(config, [40], tmp_path, cores=[1], queries=2)
    assert row.pbs == 0
    assert 0 < row.compute_seconds < 60 and 0 < row.concrete_seconds < 60


@pytest.mark.slow
def test_only_rows_stay_in_the_folder(measured):
    folder, rows = measured
    files = list(folder.iterdir())
    assert len(files) == len(rows) and all(file.suffix == ".json" for file in files)
    assert {json.loads(file.read_text())["cores"] for file in files} == set(CORES)


@pytest.mark.slow
def test_a_second_call_reuses_the_files(measured, tiny_config):
    folder, rows = measured
    started = time.perf_counter()
    again = measure_costs(tiny_config, [3, 5], folder, cores=CORES, queries=1)
    assert time.perf_counter() - started < 0.5
    assert again == rows


def test_a_failure_is_a_row_and_is_not_kept(tiny_config, tmp_path):
    too_wide = {"input_bits": 8, "weight_bits": 8, "rounding_bits": None}
    network = tiny_config.network.model_copy(update=too_wide)
    config = tiny_config.model_copy(update={"network": network})
    (row,) = measure_costs(config, [3], tmp_path, cores=[1], queries=1)
    assert row.error.startswith("compile: ") and "\n" not in row.error
    assert "cannot compile this network" in row.error
    assert row.compute_seconds is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [{"cores": [0]}, {"cores": [99_999]}, {"queries": 0}, {"classes": []}]
)
def test_what_cannot_be_measured_is_refused(wrong, tiny_config, tmp_path):
    arguments = {"classes": [3], "folder": tmp_path} | wrong
    with pytest.raises(ConfigError, match="cores=|classes="):
        measure_costs(tiny_config, **arguments)
