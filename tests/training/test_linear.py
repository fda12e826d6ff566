import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hushtune.model.network import network_logits
from hushtune.model.quantizers import input_scale
from hushtune.support.errors import RunError
from hushtune.training.data.track import Track
from hushtune.training.data.views import stretches
from hushtune.training.linear.crops import TrackCrops
from hushtune.training.linear.moments import products, row_sums
from hushtune.training.linear.parts import PARTS, extended, parts_of
from hushtune.training.linear.solve import discriminant_weights, telling_inputs
from hushtune.training.linear.sums import gather
from hushtune.training.linear.train import track_files, train_linear
from hushtune.training.run import Run


def fitted(features, rows, shrinkage=0.1, others=None):
    sums, counts = row_sums(features, rows, rows.max() + 1)
    others = np.zeros((0, features.shape[1])) if others is None else others
    return discriminant_weights(products(features), sums, counts, shrinkage, others)


def some_crops(seed=0, rows=6, count=4000, inputs=20):
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 6, (rows, inputs))
    mixing = rng.normal(0, 1.5, (inputs, inputs))
    labels = rng.integers(rows, size=count)
    values = means[labels] + rng.normal(0, 1, (count, inputs)) @ mixing
    return values.round().clip(-32, 31).astype(np.int8), labels


def test_sums_of_products_are_exact():
    crops = np.random.default_rng(0).integers(-128, 128, (5000, 30)).astype(np.int8)
    exact = crops.astype(np.int64).T @ crops.astype(np.int64)
    assert np.array_equal(products(crops), exact)
    parts = products(crops[3000:]) + products(crops[:1000]) + products(crops[1000:3000])
    assert np.array_equal(parts, exact), "in whatever order"
    rows = np.random.default_rng(1).integers(7, size=5000)
    sums, counts = row_sums(crops, rows, 8)
    assert np.array_equal(sums[3], crops[rows == 3].sum(0, dtype=np.int64))
    assert counts.tolist() == np.bincount(rows, minlength=8).tolist()


def test_weights_are_those_of_linear_discriminant_analysis():
    crops, rows = some_crops()
    weights = fitted(crops, rows, shrinkage=1e-6)
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(crops, rows)
    # its weights belong to means, ours to means less that of all crops
    centre = np.linalg.lstsq(reference.covariance_, crops.mean(0), rcond=None)[0]
    for mine, theirs in zip(weights, reference.coef_ - centre, strict=True):
        cosine = mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs)
        assert cosine == pytest.approx(1, abs=1e-3)


def test_what_is_left_of_noise_has_the_same_deviation_in_every_row():
    crops, rows = some_crops()
    logits = crops @ fitted(crops, rows, shrinkage=1e-6).T
    for row in range(6):
        assert logits[rows == row].std(0) == pytest.approx(np.ones(6), abs=0.15)


def test_it_takes_off_noise_that_crops_share():
    """Where all rows suffer the same strong noise, the covariance is what matters."""
    rng = np.random.default_rng(1)
    centres = 4 * rng.normal(size=(8, 30))
    labels = rng.integers(0, 8, 6000)
    noise = 9 * rng.normal(size=(6000, 4)) @ rng.normal(size=(4, 30))
    crops = (centres[labels] + noise + rng.normal(size=(6000, 30))).round()
    crops = crops.clip(-128, 127).astype(np.int8)
    weights = fitted(crops[:4000], labels[:4000], 0.001)
    found = (crops[4000:] @ weights.T).argmax(1) == labels[4000:]
    nearest = (crops[4000:] @ centres.T).argmax(1) == labels[4000:]
    assert found.mean() > 0.95 > nearest.mean() + 0.1


def test_rows_without_crops_get_no_weights_and_others_get_theirs():
    crops, rows = some_crops()
    kept = rows != 2
    rows[~kept] = 0
    weights = fitted(crops, rows, others=crops[:50].mean(0)[None])
    assert not weights[2].any() and weights[3].any()
    assert weights.shape == (7, 20) and weights[-1].any()


def test_the_features_kept_are_those_that_tell_the_rows_apart():
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, 4, 4000)  # -1 stands for negatives
    features = rng.normal(size=(4000, 40))
    telling = [3, 17, 18, 31, 39]
    features[:, telling] += 2 * rng.normal(size=(5, 5))[labels]
    assert telling_inputs(features.astype(np.float16), labels, 5, 0.1).tolist() == telling


def tracks(count, artists):
    from pathlib import Path

    return tuple(
        Track(f"t{n}", f"Song {n}", f"Artist {n % artists}" if artists else "", Path(f"{n}.wav"))
        for n in range(count)
    )


@pytest.mark.parametrize(("count", "artists"), [(40, 20), (40, 0), (14, 1), (5, 5), (3, 1)])
def test_parts_keep_artists_whole_and_are_about_equal(count, artists):
    some = tracks(count, artists)
    parts = parts_of(some)
    sizes = np.bincount([parts[track.id] for track in some])
    assert len(sizes) == min(PARTS, count) and sizes.min() > 0
    assert sizes.max() - sizes.min() <= 2
    if artists >= 2 * PARTS:
        of_artist = {}
        for track in some:
            assert of_artist.setdefault(track.artist, parts[track.id]) == parts[track.id]


def test_tracks_that_come_later_join_their_artists(tmp_path):
    some = tracks(40, 20)
    parts = parts_of(some)
    late = replace(some[3], id="late")
    other = replace(some[3], id="other", artist="Somebody else")
    more = extended(parts, [*some[5:], late, other])
    assert all(more[track.id] == parts[track.id] for track in some[5:])
    assert more["late"] == parts[some[23].id], "of the same artist"
    assert set(more.values()) <= set(range(PARTS)) and "t0" not in more


def test_stretches_cover_all_of_a_track_and_overlap_by_a_crop():
    for available in (5, 30, 31, 55, 208, 1200):
        starts = stretches(available, 30, 10)
        assert starts[0] == 0 and max(starts) == max(0, available - 30)
        assert all(b - a <= 20 for a, b in zip(starts, starts[1:], strict=False))
    assert stretches(100, 12, 10)[1] <= 6, "half of a stretch at most"


def test_a_song_is_covered_evenly(linear_run):
    for path, track in zip(track_files(linear_run), linear_run.split().known, strict=False):
        crops = TrackCrops.load(path)
        counts = np.bincount(crops.rows)
        assert len(counts) == 3, track
        assert counts.min() > 0.4 * counts.mean()
        limit = 1 << (linear_run.config.network.input_bits - 1)
        assert -limit <= crops.crops.min() < crops.crops.max() < limit


def test_the_threshold_is_set_by_clips_of_songs_that_are_left_out(linear_run):
    """Each song judged without it is like an unknown one; with it, it is found."""
    run, songs = linear_run, len(linear_run.split().known)
    judged, scores = run.calibration(quantized=True)
    known = judged.labels < songs
    longest = judged.seconds == 4
    assert (scores[known & longest, :-1].argmax(1) == judged.labels[known & longest]).mean() > 0.95
    left_out = np.isnan(scores[~known, :-1])
    assert left_out.sum(1).min() > 0, "songs of the clip's part are left out"
    taught = {track.id for track in run.split().known_unknowns}
    assert len(taught) == 4
    best_known, best_unknown = scores[known, :-1].max(1), np.nanmax(scores[~known, :-1], 1)
    assert np.median(best_known) > np.quantile(best_unknown, 0.95)
    assert sorted(set(judged.seconds.tolist())) == [3.0, 4.0]


def test_scores_of_the_crops_are_those_of_the_network(linear_run):
    """What is summed up are the integers that the network reads."""
    run = linear_run
    crops = TrackCrops.load(track_files(run)[0])
    scale = input_scale(run.config.network.input_bits)
    features = torch.from_numpy(crops.crops[:20].astype(np.float32) * scale)[..., None, None]
    network = run.network(quantized=True)
    entry = network.entry(features)
    assert torch.equal((entry.value / entry.scale).round().flatten(1).to(torch.int8),
                       torch.from_numpy(crops.crops[:20]))  # fmt: skip
    best = network_logits(network, features)[:, : run.rows().counts[0]].max(1)
    assert np.median(best) > 3


def test_a_training_goes_on_with_the_files_that_are_there(linear_run, tmp_path):
    run = Run(tmp_path / "again", linear_run.config)
    run.folder.mkdir()
    names = ("config.yaml", "split.json", "statistics.npy", "selected.npy", "enrolment.json")
    for name in names:
        shutil.copy(linear_run.path(name), run.path(name))
    files = track_files(run)
    before = [path.stat().st_mtime_ns for path in files]
    files[0].unlink()
    train_linear(run)
    after = [path.stat().st_mtime_ns for path in track_files(run)]
    assert before[1:] == after[1:] and files[0].exists()
    for quantized in (False, True):
        mine, first = (r.network(quantized=quantized).state_dict() for r in (run, linear_run))
        assert all(torch.equal(mine[name], first[name]) for name in first)
    split = run.split()
    parts = parts_of([*split.known, *split.known_unknowns])
    files[1].write_bytes(b"PK damaged")
    with pytest.raises(RunError, match="Delete it and train again"):
        gather(run.split(), files, parts, 4.0)
    files[1].unlink()


def test_a_linear_run_is_fitted_in_closed_form(linear_run):
    result = linear_run.read_json("result.json")
    for network in ("float", "quantized"):
        assert result[network]["top1_closed"] >= 0.95
    network = linear_run.network(quantized=True)
    assert not network.blocks and network.head.in_features == 200
    assert linear_run.front_end().feature_shape == (200, 1, 1)
    lines = [json.loads(line) for line in linear_run.path("metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["float", "quantized"]
    rows = linear_run.rows()
    assert rows.counts == (3,) * len(linear_run.split().known)
    assert network.head.out_features == rows.total + 1
