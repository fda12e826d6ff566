import pytest

from hushtune.eval.bench.cores import extrapolated, seconds_by_cores
from hushtune.support.errors import RunError


def test_extrapolation_follows_amdahl():
    assert extrapolated({1: 2 + 10.0, 2: 2 + 5.0}, 10) == pytest.approx(3.0)
    assert extrapolated({1: 12.0, 2: 7.0, 4: 4.5}, 4) == pytest.approx(4.5)
    assert extrapolated({1: 5.0, 2: 6.0}, 128) == pytest.approx(5.0), "more cores never cost more"
    assert extrapolated({2: 6.0}, 128) is None


@pytest.mark.slow
def test_an_artifact_is_timed_in_a_process_of_its_own(tiny_artifact):
    seconds = seconds_by_cores(tiny_artifact, (1,))
    assert list(seconds) == [1] and 0 < seconds[1] < 60


def test_more_cores_than_there_are_is_an_error(tiny_artifact, tmp_path):
    with pytest.raises(RunError, match="give numbers from 1 to"):
        seconds_by_cores(tiny_artifact, (1, 9999))
    with pytest.raises(RunError, match="timing it on 1 cores failed: .*no artifact lies here"):
        seconds_by_cores(tmp_path, (1,))
