"""The tests' own cache: made once, a copy for everyone, and never half a folder."""

import os
import threading
import time

import pytest


@pytest.fixture
def cache(kept, tmp_path):
    return type(kept)(tmp_path / "cache")


def write(folder):
    (folder / "song.json").write_text(f'"{folder}"')


def test_a_folder_is_made_once_and_copies_know_where_they_are(cache, tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        write(folder)

    one, two = (cache("a", make, to=tmp_path / name, sources=()) for name in "12")
    assert len(made) == 1
    assert [(at / "song.json").read_text() for at in (one, two)] == [f'"{one}"', f'"{two}"']
    (one / "song.json").write_text("changed")
    assert (cache("a", make, to=tmp_path / "3", sources=()) / "song.json").read_text() != "changed"


def test_other_sources_or_settings_make_another(cache, tmp_path):
    made = []
    for settings, sources in (("x", ()), ("y", ()), ("x", ("support",)), ("x", ())):
        cache("a", made.append, to=tmp_path / "copy", sources=sources, settings=settings)
    assert len(set(made)) == len(made) == 3


def test_what_was_interrupted_is_made_again(cache, tmp_path):
    def fail(folder):
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache("a", fail, to=tmp_path / "copy", sources=())
    copy = cache("a", write, to=tmp_path / "copy", sources=())
    assert [path.name for path in copy.iterdir()] == ["song.json"]


def test_two_at_once_make_one(cache, tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        time.sleep(0.2)
        write(folder)

    def ask(number):
        cache("a", make, to=tmp_path / str(number), sources=())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all((tmp_path / str(number) / "song.json").exists() for number in range(3))


def test_what_nobody_used_for_long_is_removed(cache, tmp_path):
    for name in "ab":
        cache(name, write, to=tmp_path / "copy", sources=())
    old, used = sorted(path for path in cache.root.iterdir() if path.is_dir())
    os.utime(old, (0, 0))
    cache("c", write, to=tmp_path / "copy", sources=())
    assert used.exists() and not old.exists()
