import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hushtune.configs.loading import parse_config
from hushtune.configs.schema import CsvCatalogue, FmaCatalogue, FolderCatalogue
from hushtune.support.errors import CatalogueError
from hushtune.support.files import write_json
from hushtune.training.data.catalogue import list_tracks, other_files
from hushtune.training.data.checking import check_tracks, summary
from hushtune.training.data.track import Track


def folder(path):
    return FolderCatalogue(kind="folder", path=path)


def write_tagged(path, tone, **tags):
    with soundfile.SoundFile(path, "w", 16000, 1, format="OGG", subtype="VORBIS") as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(tone)


def test_folder_titles_come_from_the_name_where_there_are_no_tags(tmp_path, tone):
    (tmp_path / "album").mkdir()
    soundfile.write(tmp_path / "album" / "Ana - First Song.flac", tone, 16000)
    soundfile.write(tmp_path / "second.wav", tone, 16000)
    (tmp_path / "cover.jpg").write_bytes(b"x")
    tracks = list_tracks(folder(tmp_path), tmp_path)
    assert [(t.title, t.artist) for t in tracks] == [("First Song", "Ana"), ("second", "")]


def test_folder_titles_come_from_tags_where_there_are_some(tmp_path, tone):
    write_tagged(tmp_path / "x.ogg", tone, title="Tagged Title", artist="Tagged Artist")
    (track,) = list_tracks(folder(tmp_path), tmp_path)
    assert track.name == "Tagged Artist - Tagged Title"


def test_csv_paths_are_relative_to_the_csv(tmp_path):
    path = tmp_path / "music.csv"
    path.write_text("id,title,artist,path,extra\n7,Tune,Band,a/b.mp3,x\n", encoding="utf-8")
    (track,) = list_tracks(CsvCatalogue(kind="csv", path=path), tmp_path)
    assert track == Track("7", "Tune", "Band", tmp_path / "a/b.mp3")


@pytest.mark.parametrize(
    "data",
    [
        b"id;title;artist;path\n7;Tune, the;Band;a/b.mp3\n",
        "id\ttitle\tartist\tpath\n7\tTune, the\tBand\ta/b.mp3\n".encode("utf-16"),
        b' ID , Title,artist ,path,,\n7, "Tune, the" ,Band , a/b.mp3,,\n,,,,,\n'.replace(
            b' "Tune, the" ', b'"Tune, the"'
        ),
        '\ufeffid,title,artist,path\r\n7,"Tune, the",Band,a/b.mp3\r\n'.encode(),
    ],
    ids=["semicolons", "tabs in UTF-16", "blanks and empty columns", "BOM"],
)
def test_csv_as_spreadsheets_write_it(tmp_path, data):
    path = tmp_path / "music.csv"
    path.write_bytes(data)
    (track,) = list_tracks(CsvCatalogue(kind="csv", path=path), tmp_path)
    assert track == Track("7", "Tune, the", "Band", tmp_path / "a/b.mp3")


def test_folders_as_people_have_them(tmp_path, tone):
    music, elsewhere = tmp_path / "music", tmp_path / "elsewhere"
    (music / "album").mkdir(parents=True)
    elsewhere.mkdir()
    soundfile.write(elsewhere / "01 - Linked.flac", tone, 16000)
    (music / "linked").symlink_to(elsewhere)
    (music / "album" / "back").symlink_to(music)
    for junk in (".Trash-1000", "__MACOSX", ".AppleDouble"):
        (music / junk).mkdir()
        soundfile.write(music / junk / "junk.wav", tone, 16000)
    soundfile.write(music / "album" / "._Real.wav", tone, 16000, format="WAV")
    soundfile.write(music / "album" / "02 - Ana - Real.wav", tone, 16000)
    (music / "album" / "cover.jpg").write_bytes(b"x")
    (music / "album" / "notes").write_bytes(b"x")
    latin = os.fsdecode(b"Jos\xe9 - Caf\xe9.wav")
    soundfile.write(music / "plain.wav", tone, 16000)
    (music / "plain.wav").rename(music / latin)
    tracks = list_tracks(folder(music), tmp_path)
    found = {track.title: track.artist for track in tracks}
    assert found == {"Linked": "", "Real": "Ana", "Caf": "Jos"}
    assert other_files(folder(music)) == {".jpg": 1, "no suffix": 1}
    write_json(tmp_path / "tracks.json", [track.to_json() for track in tracks])
    again = [Track.from_json(one) for one in json.loads((tmp_path / "tracks.json").read_text())]
    assert again == tracks and all(track.path.is_file() for track in again)
    for track in tracks:
        assert track.id.encode() and track.name.encode()


def test_blank_tags_give_way_to_the_name(tmp_path, tone):
    write_tagged(tmp_path / "Ana - Song.ogg", tone, title="   ", artist=" ")
    (track,) = list_tracks(folder(tmp_path), tmp_path)
    assert (track.title, track.artist) == ("Song", "Ana")


def test_what_a_tag_says_cannot_command_the_terminal(tmp_path, tone):
    write_tagged(tmp_path / "x.ogg", tone, title="Tune\n\x1b[2Jgone")
    (track,) = list_tracks(folder(tmp_path), tmp_path)
    assert "\n" not in track.title and "\x1b" not in track.title and "Tune" in track.title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,titel,artist,path\n1,a,b,c\n", "column title .is it 'titel'.. is missing"),
        ("id,title,path\n1,a,b\n", "column artist is missing"),
        ("id,title,artist,path\n1,a,b,\n", "line 2"),
        ("id,title,artist,path\n", "no track found"),
        ("id,title,artist,path\n1,a,b,c\n1,d,e,f\n", "id='1' stands for"),
    ],
)
def test_bad_csv(tmp_path, text, expected):
    path = tmp_path / "music.csv"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=expected):
        list_tracks(CsvCatalogue(kind="csv", path=path), tmp_path)


def test_fma_layout(tmp_path, tone):
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_metadata" / "tracks.csv").write_text(
        ",album,artist,track,track,track\n,title,name,genre_top,title,license\ntrack_id,,,,,\n"
        "2,Album,AWOL,Hip-Hop,Food,CC0\n3,Album,AWOL,Hip-Hop,Electric Ave,CC0\n"
    )
    audio = tmp_path / "fma_small" / "000"
    audio.mkdir(parents=True)
    soundfile.write(audio / "000002.mp3", tone, 16000)
    settings = FmaCatalogue(kind="fma", path=tmp_path)
    (track,) = list_tracks(settings, tmp_path)
    assert (track.id, track.title, track.artist) == ("000002", "Food", "AWOL")
    assert (track.genre, track.license) == ("Hip-Hop", "CC0")
    assert track.path == audio / "000002.mp3"
    with pytest.raises(CatalogueError, match="fma_medium is missing"):
        list_tracks(FmaCatalogue(kind="fma", path=tmp_path, subset="medium"), tmp_path)


def test_no_such_places(tmp_path):
    with pytest.raises(CatalogueError, match="no such folder"):
        list_tracks(folder(tmp_path / "none"), tmp_path)
    with pytest.raises(CatalogueError, match="no such file"):
        list_tracks(CsvCatalogue(kind="csv", path=tmp_path / "none.csv"), tmp_path)
    with pytest.raises(CatalogueError, match="no track found"):
        list_tracks(folder(tmp_path), tmp_path)


def checked(path: Path, tone, strict: bool):
    soundfile.write(path / "good.wav", tone, 16000)
    soundfile.write(path / "good-copy.wav", tone, 16000)
    soundfile.write(path / "short.wav", tone[:16000], 16000)
    soundfile.write(path / "silent.wav", 0 * tone, 16000)
    (path / "text.mp3").write_text("not music")
    settings = {"name": "x", "catalogue": {"kind": "folder", "path": str(path), "strict": strict}}
    config = parse_config(settings, name="x", folder=path)
    return check_tracks(list_tracks(config.catalogue, path), config, workers=1)


def test_unusable_tracks_are_named_and_skipped(tmp_path, tone):
    found = checked(tmp_path, tone, strict=False)
    assert [track.title for track in found.usable] == ["good-copy"]
    reasons = {problem.track.title: problem.reason for problem in found.problems}
    assert "same file" in reasons["good"]
    assert "too short" in reasons["short"]
    assert "silent" in reasons["silent"]
    assert "not audio" in reasons["text"]


def test_what_was_skipped_is_counted_by_what_was_wrong(tmp_path, tone):
    (line,) = summary(checked(tmp_path, tone, strict=False).to_json(), "catalogue.json")
    assert line.startswith("WARNING: 80% of the catalogue is not enrolled. Skipped 4 of 5 tracks: ")
    for count in ("1 repeated", "1 too short", "1 silent", "1 not decodable"):
        assert count in line
    assert line.endswith("See catalogue.json.")


def test_a_few_skipped_tracks_are_told_without_alarm():
    skipped = [{"id": "a", "fault": "silent", "reason": "a: silent."}]
    assert summary({"usable": 19, "skipped": skipped}, "x") == [
        "Skipped 1 of 20 tracks: 1 silent. See x."
    ]
    assert summary({"usable": 20, "skipped": []}, "x") == []


def test_a_damaged_track_and_a_very_long_one_are_used_as_far_as_they_go(tmp_path, tone):
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, np.tile(tone, 4), 16000)
    data = whole.read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: round(0.6 * len(data))])
    noise = np.random.default_rng(0).standard_normal(8000).astype("f") * 0.1
    soundfile.write(tmp_path / "mix.flac", np.tile(noise, 1230), 8000)
    settings = {"name": "x", "catalogue": {"kind": "folder", "path": str(tmp_path)}}
    config = parse_config(settings, name="x", folder=tmp_path)
    found = check_tracks(list_tracks(config.catalogue, tmp_path), config, workers=1)
    assert len(found.usable) == 3 and not found.problems
    cut, mix = sorted(found.partly, key=lambda one: one.track.id)
    assert cut.damaged and 0.4 * cut.of_seconds < cut.seconds < 0.8 * cut.of_seconds
    assert f"of about {4 * len(tone) / 16000:.0f} s could be decoded" in cut.reason
    assert not mix.damaged and mix.seconds == pytest.approx(1200)
    assert "the first 20 count" in mix.reason
    (line,) = summary(found.to_json(), "x")
    assert line.startswith("Used only in part: 2 tracks, the first: ") and "cut.flac" in line


def test_unusable_tracks_are_an_error_where_strict(tmp_path, tone):
    with pytest.raises(CatalogueError, match="4 of 5 tracks") as error:
        checked(tmp_path, tone, strict=True)
    assert "text.mp3" in str(error.value)


def test_joined_catalogues_hold_out_tracks_of_the_first_alone(tmp_path, tone):
    for name in ("real", "more"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{name}.wav", tone, 16000)
    parts = [{"kind": "folder", "path": name} for name in ("real", "more")]
    settings = {"name": "x", "catalogue": {"kind": "joined", "parts": parts}}
    config = parse_config(settings, name="x", folder=tmp_path)
    tracks = list_tracks(config.catalogue, tmp_path)
    assert [(t.id, t.always_known) for t in tracks] == [("real.wav", False), ("more.wav", True)]


def test_composed_songs_can_join_any_catalogue(tmp_path, tone):
    soundfile.write(tmp_path / "one.wav", tone, 16000)
    (tmp_path / "c.csv").write_text("id,title,artist,path\n0000,One,Someone,one.wav\n")
    composed = {"kind": "composed", "tracks": 6, "seconds": 12}
    parts = [{"kind": "csv", "path": "c.csv"}, composed, {**composed, "seed": 1}]
    settings = {"name": "x", "catalogue": {"kind": "joined", "parts": parts}}
    config = parse_config(settings, name="x", folder=tmp_path)
    tracks = list_tracks(config.catalogue, tmp_path)
    assert [t.id for t in tracks[:2]] == ["0000", "composed-0-0000"]
    assert len(tracks) == 13 and tracks[-1].id == "composed-1-0005"
    assert [t.always_known for t in tracks] == [False] + 12 * [True]


def test_joined_catalogues_need_ids_of_their_own(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    parts = [{"kind": "folder", "path": "."}] * 2
    settings = {"name": "x", "catalogue": {"kind": "joined", "parts": parts}}
    config = parse_config(settings, name="x", folder=tmp_path)
    with pytest.raises(CatalogueError, match="id='a.wav' stands for"):
        list_tracks(config.catalogue, tmp_path)
