from dataclasses import replace
from pathlib import Path

import pytest

from hushtune.configs.schema import SplitSettings
from hushtune.support.errors import CatalogueError, RunError
from hushtune.training.data.split import Split, split_tracks
from hushtune.training.data.track import Track

SETTINGS = SplitSettings(known_unknowns=6, unknown_test=8)


def tracks(artists: list[str]) -> list[Track]:
    return [Track(str(n), f"t{n}", artist, Path(f"{n}.mp3")) for n, artist in enumerate(artists)]


def artists(part):
    return {track.artist for track in part if track.artist}


def test_lists_are_disjoint_by_artist_and_cover_everything():
    songs = tracks([f"a{n // 2}" for n in range(60)])
    split = split_tracks(songs, SETTINGS, seed=1)
    parts = (split.known, split.known_unknowns, split.unknown_test)
    assert sorted(t.id for part in parts for t in part) == sorted(t.id for t in songs)
    for first in range(3):
        for second in range(first):
            assert not artists(parts[first]) & artists(parts[second])
    assert len(split.known_unknowns) == 6
    assert len(split.unknown_test) == 8


def test_same_seed_same_split_other_seed_another():
    songs = tracks([""] * 40)
    assert split_tracks(songs, SETTINGS, 1) == split_tracks(songs, SETTINGS, 1)
    assert split_tracks(songs, SETTINGS, 1).digest() != split_tracks(songs, SETTINGS, 2).digest()


def test_one_prolific_artist_does_not_become_the_test():
    songs = tracks(["big"] * 8 + [f"a{n}" for n in range(30)])
    assert "big" not in artists(split_tracks(songs, SETTINGS, 1).unknown_test)


def test_too_few_tracks():
    with pytest.raises(CatalogueError, match="15 usable tracks"):
        split_tracks(tracks([""] * 15), SETTINGS, 1)
    with pytest.raises(CatalogueError, match="no artist has so few"):
        split_tracks(tracks(["one"] * 30), SETTINGS, 1)


def test_split_file_reads_back(tmp_path):
    split = split_tracks(tracks([""] * 40), SETTINGS, 1)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(RunError, match="split.json"):
        Split.load(tmp_path / "split.json")


def test_only_so_many_are_enrolled_and_the_unknown_stay_the_same():
    songs = tracks([f"a{n // 2}" for n in range(60)])
    everything = split_tracks(songs, SETTINGS, 1)
    some = split_tracks(songs, SETTINGS.model_copy(update={"enrolled": 10}), 1)
    assert len(some.known) == 10 and set(some.known) < set(everything.known)
    assert some.unknown_test == everything.unknown_test
    assert some.known_unknowns == everything.known_unknowns


def test_always_known_tracks_are_never_held_out():
    added = [Track(f"x{n}", "x", "", Path("x"), always_known=True) for n in range(50)]
    songs = tracks([""] * 30)
    split = split_tracks([*songs, *added], SETTINGS, 1)
    assert set(added) < set(split.known)
    assert split.unknown_test == split_tracks(songs, SETTINGS, 1).unknown_test
    with pytest.raises(CatalogueError, match="10 usable tracks"):
        split_tracks([*tracks([""] * 10), *added], SETTINGS, 1)


def test_an_unknown_track_with_a_known_title_is_left_out():
    songs = tracks([f"a{n}" for n in range(40)])
    before = split_tracks(songs, SETTINGS, 1)
    twin = before.known_unknowns[0]
    place = songs.index(before.known[0])
    songs[place] = replace(songs[place], title=f" {twin.title.upper()}")
    after = split_tracks(songs, SETTINGS, 1)
    assert [t.id for t in after.known_unknowns] == [t.id for t in before.known_unknowns[1:]]
    assert after.unknown_test == before.unknown_test
    assert len(after.known) == len(before.known), "it is not enrolled, either"


def test_titles_that_name_no_piece_leave_nothing_out():
    numbers = [replace(t, title="01") for t in tracks([f"a{n}" for n in range(40)])]
    nobodys = [replace(t, title="Intro") for t in tracks([""] * 40)]
    generic = [replace(t, title="Intro") for t in tracks([f"a{n}" for n in range(40)])]
    for songs in (numbers, nobodys, generic):
        assert len(split_tracks(songs, SETTINGS, 1).known_unknowns) == 6
