import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from hushtune.configs.loading import load_encoder_config
from hushtune.configs.schema import SignalSettings
from hushtune.configs.schema.encoder import EncoderNetworkSettings
from hushtune.model.encoder import Encoder
from hushtune.model.features import OnnxEncoder
from hushtune.model.features.embedding import pooled
from hushtune.support.errors import CatalogueError, ConfigError, RunError
from hushtune.training.encoder.export import export_encoder
from hushtune.training.encoder.fitting import train_encoder
from hushtune.training.encoder.loss import ContrastiveLoss
from hushtune.training.encoder.music import (
    encoder_sounds,
    noise_pieces,
    prepare_recordings,
    usable_tracks,
)
from hushtune.training.encoder.pairs import PairMaker
from hushtune.training.encoder.run import EncoderFile, EncoderRun

LEARNED, HELD, FORBIDDEN = 14, 8, 2
"""Songs of the fixture's catalogue."""


@pytest.fixture(scope="module")
def recordings(encoder_run, encoder_config):
    return prepare_recordings(encoder_run.learned(), encoder_config, encoder_run.cache, print)


def network(**changes):
    torch.manual_seed(0)
    settings = EncoderNetworkSettings(channels=(8, 16, 16), values=64, **changes)
    return Encoder(settings, SignalSettings(bands=32, crop_seconds=3))


def power(clips=3, frames=120, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.gamma(0.5, 1.0, (clips, 32, frames)).astype(np.float32))


def test_a_run_holds_what_it_promises(encoder_run):
    for name in EncoderFile:
        there = encoder_run.path(name).exists()
        assert there == (name is not EncoderFile.CHECKPOINT), name
    lines = [json.loads(x) for x in encoder_run.path(EncoderFile.METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [25, 50, 75, 100, 120]
    assert lines[-1]["accuracy"] > lines[0]["accuracy"] + 0.05
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]


def test_what_is_held_out_or_forbidden_or_listed_twice_is_not_learned_from(encoder_run):
    assert len(encoder_run.learned()) == LEARNED and len(encoder_run.held_out()) == HELD
    assert not {t.path for t in encoder_run.learned()} & {t.path for t in encoder_run.held_out()}
    assert all("NC" not in track.license for track in encoder_run.learned())
    config = encoder_run.config.model_copy(update={"without_licenses": ()})
    learned, _ = usable_tracks(config, encoder_run.cache)
    assert len(learned) == LEARNED + FORBIDDEN


def test_nothing_is_left_to_learn_from(encoder_run):
    config = encoder_run.config.model_copy(update={"without_licenses": ("*",)})
    with pytest.raises(CatalogueError, match="0 track.s. left to learn from"):
        usable_tracks(config, encoder_run.cache)


def test_pairs_belong_together(recordings, encoder_config, encoder_run):
    """The clean row of a pair holds the very music of its clip, and another song's does not."""
    changes = {"noise_share": 0.0, "pairs": 48, "shift_seconds": 0}
    training = encoder_config.training.model_copy(update=changes)
    config = encoder_config.model_copy(update={"training": training})
    maker = PairMaker(recordings, noise_pieces(config, encoder_run.cache), config)
    pairs = maker.draw(3)
    frames = OnnxEncoder(encoder_run.path(EncoderFile.GRAPH)).frames
    assert pairs.clips.shape == pairs.rows.shape == (48, 32, frames)

    def closeness(clip, row):
        """The correlation of two logarithms of power without their bands' means."""
        clip, row = (torch.log(power + 1e-6) for power in (clip, row))
        clip, row = (log - log.mean(1, keepdim=True) for log in (clip, row))
        return float((clip * row).sum() / (clip.norm() * row.norm()))

    own = [closeness(c, r) for c, r in zip(pairs.clips, pairs.rows, strict=True)]
    places = [int((pairs.songs != song).nonzero()[0]) for song in pairs.songs]
    others = [closeness(pairs.clips[i], pairs.rows[j]) for i, j in enumerate(places)]
    assert np.mean(np.array(own) > np.array(others)) > 0.9
    assert np.median(own) > np.median(others) + 0.15


def test_pairs_depend_on_step_and_seed_alone(recordings, encoder_config, encoder_run):
    noise = noise_pieces(encoder_config, encoder_run.cache)
    first, second = (PairMaker(recordings, noise, encoder_config) for _ in range(2))
    first.draw(1)
    assert torch.equal(first.draw(5).clips, second.draw(5).clips)
    assert not torch.equal(first.draw(6).rows, second.draw(5).rows)


def test_training_draws_no_sound_that_judges(encoder_config):
    sounds = encoder_sounds(encoder_config)
    (training,) = sounds.training
    assert not set(training.names) & set(sounds.test.names)


def test_the_loss_ignores_other_moments_of_the_same_song():
    loss = ContrastiveLoss(0.1, 8)
    clips = torch.eye(4)
    songs = torch.tensor([0, 1, 2, 3])
    easy, right = loss(clips, clips, songs)
    assert right == 1 and float(easy) < 0.01
    loss.remember(clips, songs)
    again, _ = loss(clips, clips, songs)
    assert float(again) == pytest.approx(float(easy), abs=1e-3), "its own rows are not wrong"
    loss.remember(clips, torch.tensor([7, 7, 7, 7]))
    hard, _ = loss(clips, clips, songs)
    assert float(hard) > 0.3
    assert len(loss.rows) == 8


def test_batch_norm_folds_away_and_the_graph_agrees(tmp_path):
    trained = network().train()
    for seed in range(4):
        trained(power(16, seed=seed))
    trained.eval()
    export_encoder(trained, tmp_path / "encoder.onnx", tmp_path / "encoder.safetensors")
    runs = OnnxEncoder(tmp_path / "encoder.onnx")
    assert runs.values == 64 and runs.signal["bands"] == 32
    for clips in (1, 3, 70):
        some = power(clips, runs.frames)
        with torch.no_grad():
            wanted, folded = trained.embed(some), trained.folded().embed(some)
        torch.testing.assert_close(folded, wanted, atol=1e-4, rtol=1e-4)
        given = runs(some.numpy())
        np.testing.assert_allclose(given, wanted.numpy(), atol=0.02)
        assert np.square(given).mean() == pytest.approx(1, abs=1e-3)
    weights = load_file(tmp_path / "encoder.safetensors")
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float16)}
    assert (tmp_path / "encoder.onnx").stat().st_size < 30_000, "the weights lie beside it"


@pytest.mark.parametrize("bits", [3, 6])
def test_embeddings_have_few_levels(bits):
    with torch.no_grad():
        values = network(bits=bits).eval()(power(16))
    assert len(torch.unique(values)) <= 2**bits


def test_the_level_of_a_recording_drops_out():
    encoder, some = network().eval(), power(4)
    with torch.no_grad():
        plain, louder = encoder.images(some), encoder.images(100 * some)
        coloured = encoder.images(some * torch.linspace(0.3, 3, 32)[:, None])
    torch.testing.assert_close(plain, louder, atol=1e-3, rtol=1e-3)
    change = (coloured - plain).std(3)
    assert change.max() < 0.1, "an equalizer moves whole bands, not what happens in them"


@pytest.mark.parametrize(("frames", "crops"), [(40, 1), (90, 1), (91, 2), (106, 2), (250, 11)])
def test_crops_cover_a_clip(encoder_run, frames, crops):
    encoder = OnnxEncoder(encoder_run.path(EncoderFile.GRAPH))
    assert encoder.frames == 90
    some = power(1, frames)[0].numpy()
    cut = encoder.crops(some, 16)
    assert cut.shape == (crops, 32, 90)
    if frames >= 90:
        np.testing.assert_array_equal(cut[0], some[:, :90])
        np.testing.assert_array_equal(cut[-1], some[:, -90:])
    vector = pooled(encoder(cut))
    assert vector.shape == (64,) and np.square(vector).mean() == pytest.approx(1, abs=1e-3)


def test_a_killed_training_resumes_to_the_same_weights(encoder_run, tmp_path):
    config = encoder_run.config.model_copy(update={"runs": tmp_path, "name": "killed"})
    (tmp_path / ".cache").symlink_to(encoder_run.cache)
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "hushtune", "encoder", "train", str(path)]
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and not checkpoint.exists():
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read().decode()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "encoder.safetensors").exists()
    said = []
    resumed = train_encoder(config, announce=said.append)
    assert "Resuming at step 40." in said
    expected, got = (load_file(r.path(EncoderFile.WEIGHTS)) for r in (encoder_run, resumed))
    assert expected.keys() == got.keys()
    differing = [name for name in expected if not np.array_equal(expected[name], got[name])]
    assert not differing


def test_training_twice_does_nothing_more(encoder_run):
    said = []
    train_encoder(encoder_run.config, announce=said.append)
    assert said == [f"{encoder_run.folder}: already trained."]


def test_another_configuration_in_the_same_folder_is_refused(encoder_run):
    config = encoder_run.config.model_copy(update={"seed": 4})
    with pytest.raises(RunError, match="seed differ"):
        train_encoder(config)
    with pytest.raises(RunError, match="hushtune encoder train"):
        EncoderRun.open(encoder_run.folder.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nmusic: []\n", "music="),
        ("name: a\n", "music: this setting is required"),
        ("name: a\nmusic: [{kind: csv, path: x}]\nnetwork: {values: 4}\n", "network.values=4"),
        (
            "name: a\nmusic: [{kind: csv, path: x}]\nnetwork: {chanels: [1, 2]}\n",
            "network.chanels: unknown key. Did you mean 'channels'",
        ),
        ("name: a\nmusic: [{kind: csv, path: x}]\nsignal: {bands: 20}\n", "multiple of 16"),
    ],
)
def test_wrong_settings_are_explained(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_encoder_config(path)


def test_the_shipped_configuration_is_valid():
    config = load_encoder_config("encoder")
    assert config.name == "encoder" and len(config.held_out) == 5
