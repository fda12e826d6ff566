import errno
import multiprocessing
import os
import stat

import pytest

from hushtune.support.files import create_exclusively, replacing

SIZE = 200_000


def race(path, mark, start, results):
    """Try to create the file at the very moment that another process does."""
    start.wait(30)
    try:
        create_exclusively(path, bytes([mark]) * SIZE)
    except FileExistsError:
        results.put(None)
    else:
        results.put(mark)


def without_hard_links(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_one_of_two_racing_processes_writes_the_file(tmp_path, monkeypatch, links):
    if not links:
        without_hard_links(monkeypatch)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for attempt in range(10):
        path = tmp_path / f"keys-{attempt}"
        start = context.Barrier(2)
        racers = [context.Process(target=race, args=(path, i, start, results)) for i in (1, 2)]
        for racer in racers:
            racer.start()
        winners = [mark for mark in (results.get(timeout=30) for _ in racers) if mark]
        for racer in racers:
            racer.join()
        assert len(winners) == 1
        assert path.read_bytes() == bytes(winners) * SIZE
    assert len(list(tmp_path.iterdir())) == 10, "no temporary file is left"


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_what_exists_stays(tmp_path, monkeypatch, links):
    if not links:
        without_hard_links(monkeypatch)
    path = tmp_path / "key"
    create_exclusively(path, b"first")
    with pytest.raises(FileExistsError):
        create_exclusively(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, links):
    if not links:
        without_hard_links(monkeypatch)
    honest, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == (1 if links else 2):  # without links the second writes the file itself
            raise OSError(errno.ENOSPC, "disk full")
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        create_exclusively(tmp_path / "key", b"secret")
    assert not list(tmp_path.iterdir())


def test_replacing_removes_its_temporary_file_when_the_block_fails(tmp_path):
    path = tmp_path / "table"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing(path) as partial:
        partial.write_text("ne")
        raise ValueError("half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
