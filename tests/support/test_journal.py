"""Real FHE that was interrupted goes on where it was."""

import numpy as np
import pytest

from hushtune.fhe.export.artifact import build
from hushtune.fhe.export.execution import execute
from hushtune.fhe.server import Server
from hushtune.support.journal import Journal, digest_of
from hushtune.training.data.clips import clip_images, list_test_clips


def test_lines_of_other_circuits_and_torn_ones_are_passed_over(tmp_path):
    mine, other = (Journal(tmp_path / "executed.jsonl", name) for name in ("mine", "other"))
    assert mine.read() == {}
    image = np.arange(6, dtype=np.float32)
    other.add(image, {"executed": 1})
    with mine.path.open("a") as file:
        file.write('\n{"circuit": "mine", "ima')
    mine.add(image, {"executed": 2})
    assert [line["executed"] for line in mine.read().values()] == [2]
    assert list(mine.read()) == [digest_of(image.tobytes())]


def test_only_clips_without_an_answer_are_computed_again(linear_run, tmp_path, monkeypatch):
    clips = list_test_clips(linear_run.config, linear_run.split())[:3]
    images = clip_images(clips, linear_run.config, linear_run.front_end()).images.numpy()
    module, _ = build(linear_run, tmp_path / "artifact")
    journal = Journal(tmp_path / "executed.jsonl", "circuit")
    calls, run = [], Server.run

    def counting(server, query, keys):
        calls.append(query)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(server, query, keys)

    monkeypatch.setattr(Server, "run", counting)
    with pytest.raises(KeyboardInterrupt):
        execute(tmp_path / "artifact", module, images, title="", journal=journal)
    done = execute(tmp_path / "artifact", module, images, title="", journal=journal)
    assert len(calls) == 4, "the third clip alone was computed again"
    fresh = execute(tmp_path / "artifact", module, images, title="")
    assert done.executed.shape == fresh.executed.shape
    assert done.executed == pytest.approx(fresh.executed, abs=0.05 * fresh.executed.std())
    assert len(done.compute_seconds) == 3 and done.costs.query_bytes > 1000
