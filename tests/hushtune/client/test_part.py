"""The client part as a hostile service may send it: every attack ends in an error."""

import copy
import hashlib
import io
import json
import random
import re
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from hushtune.client.part import LARGEST_BYTES, keep_part, read_part
from hushtune.configs.schema import FheSettings, ModulationSpectrum, NetworkSettings, SignalSettings
from hushtune.fhe.answer import Song
from hushtune.fhe.client import Client
from hushtune.fhe.encryption import Encryption, Values
from hushtune.fhe.manifest import (
    ArtifactConfig,
    CircuitFacts,
    InputQuantizer,
    Manifest,
    OutputQuantizer,
    SongRows,
)
from hushtune.fhe.parameters import VARIANCES
from hushtune.model.decision import Decision, Decisions
from hushtune.model.features import make_front_end
from hushtune.support.errors import ArtifactError, HushtuneError

URL = "http://tunes.example"
FUZZED = 10_000
HOSTILE = {
    **{"none": None, "yes": True, "zero": 0, "one": 1, "eight": 8, "minus": -1, "huge": 2**63},
    **{"large": 1e40, "tiny": 1e-300, "text": "x", "path": "../../x", "list": [], "object": {}},
    "deep": [[[[[[]]]]]],
    "model": {"type_name": "sklearn_model", "serialized_value": "80049526"},
}


def part_of(manifest: dict | bytes, files: dict[str, bytes]) -> bytes:
    """A zip as a service sends it."""
    packed = io.BytesIO()
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in {"manifest.json": text, **files}.items():
            archive.writestr(name, content)
    return packed.getvalue()


def identified(manifest: dict) -> dict:
    """The manifest with the id that its content has, as its maker would give it."""
    rest = {key: value for key, value in manifest.items() if key != "id"}
    text = json.dumps(json.loads(json.dumps(rest)), sort_keys=True).encode()
    return {"id": hashlib.sha256(text).hexdigest(), **rest}


@pytest.fixture(scope="module")
def honest() -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the files of a small artifact without PBS."""
    config = ArtifactConfig(
        signal=SignalSettings(crop_seconds=4, bands=32),
        spectrum=ModulationSpectrum(window_seconds=2, bins=4, distances=(1,), quantiles=False),
        network=NetworkSettings(layers=()),
        fhe=FheSettings(),
    )
    front_end = make_front_end(config.signal, config.spectrum)
    shape = front_end.full_shape
    stored = io.BytesIO()
    np.save(stored, np.stack([np.zeros(shape), np.ones(shape)]).astype(np.float32))
    files = {"client/statistics.npy": stored.getvalue()}
    manifest = Manifest(
        name="honest",
        created="2026-11-27T00:00:00+00:00",
        versions=versions(),
        split_sha256="0" * 64,
        config=config,
        circuit=CircuitFacts(
            pbs=0, widest_bits=14, p_error=1e-4, bootstrap_key_bytes=0, keyswitch_key_bytes=0
        ),
        encryption=Encryption(
            keys=(1088,),
            input=Values(shape=(1, *shape), width=14, signed=True, key=0),
            output=Values(shape=(1, 3), width=14, signed=True, key=0),
        ),
        input_quantizer=InputQuantizer(scale=0.125, bits=6),
        output_quantizer=OutputQuantizer(scale=0.01),
        rows=SongRows(counts=(1, 1), seconds=None),
        decisions=Decisions((10.0,), (Decision((1.0, 1.0, -1.0, 1.0), 0.0, 1.0),)),
        number=None,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        catalogue=(Song("1", "One", "A"), Song("2", "Two", "B")),
    )
    return manifest, files


def versions() -> dict[str, str]:
    from hushtune.fhe.artifact import installed_versions

    return installed_versions()


def as_dict(manifest: Manifest) -> dict:
    return json.loads(manifest.to_json())


def test_an_honest_part_is_kept_and_opened(honest, tmp_path, tone):
    manifest, files = honest
    data = part_of(manifest.to_json(), files)
    folder = keep_part(data, manifest.id, tmp_path, URL)
    assert folder == tmp_path / manifest.id
    client = Client(folder)
    assert client.fresh_keys and len(client.encrypt((tone, 16_000))) == 86 + 24 * 384
    assert [path.name for path in tmp_path.iterdir()] == [manifest.id]
    assert keep_part(data, manifest.id, tmp_path, URL) == folder, "a damaged copy is replaced"


def test_the_pin_is_compared_before_anything_else_is_read(honest, tmp_path, monkeypatch):
    """Another artifact's part: none of its files is opened, nothing is written."""
    manifest, files = honest
    opened = []
    original = zipfile.ZipFile.open

    def spying(archive, entry, *more, **options):
        opened.append(getattr(entry, "filename", entry))
        return original(archive, entry, *more, **options)

    data = part_of(manifest.to_json(), files)
    monkeypatch.setattr(zipfile.ZipFile, "open", spying)
    with pytest.raises(ArtifactError, match=f"{URL}: do not trust .* not of {'f' * 16}"):
        keep_part(data, "f" * 64, tmp_path, URL)
    assert opened == ["manifest.json"]
    assert not list(tmp_path.iterdir())


def test_a_key_given_twice_is_refused(honest):
    """Of two equal keys the last one used to win here and both were built elsewhere."""
    manifest, files = honest
    text = manifest.to_json().decode()
    doubled = text.replace(
        '"number": null', '"number": {"type_name": "sklearn_model"},\n"number": null'
    )
    assert doubled != text
    with pytest.raises(ArtifactError, match="'number' twice"):
        read_part(part_of(doubled.encode(), files), manifest.id)


def test_objects_of_concrete_ml_are_not_built(honest, tmp_path):
    """What its loader would have made a command of is one more unknown field here."""
    manifest, files = honest
    mark = tmp_path / "went off"
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(mark).encode()
    for place in ("is_training", "input_quantizers", "model_type"):
        hostile = identified(
            as_dict(manifest)
            | {place: {"type_name": "sklearn_model", "serialized_value": bomb.hex()}}
        )
        with pytest.raises(ArtifactError, match="fields"):
            read_part(part_of(hostile, files), hostile["id"])
    # and the file that held them is no part of an artifact any more
    packed = part_of({}, {"serialized_processing.json": bomb})
    named = {**files, "client/client.zip": packed}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in named.items()}
    hostile = identified(as_dict(manifest) | {"files": hashes})
    with pytest.raises(ArtifactError, match="client/client.zip"):
        read_part(part_of(hostile, named), hostile["id"])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda e: e.update(variance=1e40), "Extra inputs"),
        (lambda e: e.update(variances=[1e40]), "Extra inputs"),
        (lambda e: e["input"].update(variance=1e40), "Extra inputs"),
        (lambda e: e.update(keys=[8]), "no dimension of Hushtune's list"),
        (lambda e: e.update(keys=[450]), "no dimension of Hushtune's list"),
        (lambda e: e.update(keys=[1088, 8]), "no dimension of Hushtune's list"),
        (lambda e: e["input"].update(key=1), "there is none"),
        (lambda e: e["input"].update(key=-1), "greater than or equal to 0"),
        (lambda e: e["output"].update(shape=[1, 2**19, 2**19]), "more than|words"),
        (lambda e: e["input"].update(width=2), "exceed the circuit"),
        (lambda e: e["output"].update(shape=[1, 4]), "expected 3"),
        (lambda e: e["input"].update(signed="true"), "valid boolean"),
        (lambda e: e.update(keys=[1088.0]), "valid integer"),
    ],
)
def test_nothing_about_the_encryption_comes_from_a_service(honest, change, told):
    manifest, files = honest
    hostile = as_dict(manifest)
    change(hostile["encryption"])
    hostile = identified(hostile)
    with pytest.raises(ArtifactError, match=told):
        read_part(part_of(hostile, files), hostile["id"])


def test_numbers_that_are_none_are_refused(honest):
    manifest, files = honest
    text = manifest.to_json().decode()
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        hostile = re.sub(r'("scale": )0.125', rf"\g<1>{number}", text)
        assert hostile != text
        with pytest.raises(ArtifactError, match="finite"):
            read_part(part_of(hostile.encode(), files), manifest.id)


def test_deep_and_long_manifests_are_refused(honest):
    manifest, files = honest
    for text in (
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b'{"format_version": ' + b"9" * 10_000 + b"}",
    ):
        with pytest.raises(ArtifactError, match="damaged"):
            read_part(part_of(text, files), manifest.id)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.update(catalogue=[{}] * 300_000), "catalogue"),
        (lambda m: m.update(catalogue=[1] * 300_000), "catalogue"),
        (lambda m: m.update({f"k{i}": 1 for i in range(100_000)}), "fields"),
        (lambda m: m.update(accuracy={"a": [[]] * 1_100_000}), "1,000,000 values"),
        (lambda m: m.update(files={f"k{i}": "0" * 64 for i in range(10_000)}), "files"),
    ],
)
def test_small_manifests_that_would_grow_are_refused_at_once(honest, change, told):
    """A few hundred bytes in a zip must not take gigabytes, nor minutes."""
    manifest, files = honest
    hostile = as_dict(manifest)
    change(hostile)
    packed = part_of(hostile, files)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(ArtifactError, match=told):
        read_part(packed, manifest.id)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150_000_000 and time.process_time() - began < 20


@pytest.mark.parametrize("text", ["\x1b]52;c;eA==\x1b\\", "two\nlines", "\x9b2J", "a\u202eb"])
def test_text_that_a_terminal_would_obey_is_refused(honest, text):
    manifest, files = honest
    good = as_dict(manifest)
    song = good["catalogue"][0]
    for change in (
        {"name": text},
        {"created": text},
        {"versions": {"hushtune": text}},
        {"catalogue": [song | {"title": text}, good["catalogue"][1]]},
        {"catalogue": [song | {"artist": text}, good["catalogue"][1]]},
    ):
        hostile = identified(good | change)
        with pytest.raises(ArtifactError, match="control characters") as error:
            read_part(part_of(hostile, files), hostile["id"])
        assert text not in str(error.value)
    older = good | {"format_version": text, "versions": {"hushtune": text}}
    with pytest.raises(ArtifactError, match="format_version") as error:
        read_part(part_of(older, files), manifest.id)
    assert text not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m["config"]["spectrum"].update(distances=[32]), "distances"),
        (lambda m: m["config"]["spectrum"].update(distances=[10**30]), "distances"),
        (lambda m: m["decisions"]["of"][0].update(weights=[1.0]), "decision"),
        (lambda m: m["decisions"]["of"][0].update(temperature=0), "decision"),
        (lambda m: m["decisions"].update(seconds=[]), "decisions: 1 of them for 0 lengths"),
        (lambda m: m["decisions"].update(seconds=[-1.0]), "rising lengths"),
        (lambda m: m["rows"].update(counts=[1, 1, 1]), "rows: of 3 songs"),
        (lambda m: m["rows"].update(counts=[1, 0]), "rows"),
        (lambda m: m["rows"].update(counts=[1, 2]), "expected 4"),
        (lambda m: m.update(accuracy={"float": {}}), "accuracy"),
    ],
)
def test_settings_that_would_fail_later_are_refused_now(honest, change, told):
    manifest, files = honest
    hostile = as_dict(manifest)
    change(hostile)
    hostile = identified(hostile)
    with pytest.raises(ArtifactError, match=told):
        read_part(part_of(hostile, files), hostile["id"])


def test_files_that_unpack_to_too_much_are_refused(honest):
    manifest, files = honest
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"[" + b" " * (LARGEST_BYTES + 10))
        archive.writestr("client/statistics.npy", files["client/statistics.npy"])
    assert len(packed.getvalue()) < 200_000
    with pytest.raises(ArtifactError, match="more than"):
        read_part(packed.getvalue(), manifest.id)


@pytest.mark.parametrize(
    "more",
    [
        {"client/more.npy": b""},
        {"../outside": b""},
        {"/etc/outside": b""},
        {"client/../../outside": b""},
        {"client\\outside": b""},
        {"server/server.zip": b""},
        {"client/statistics.npy/": b""},
    ],
)
def test_files_that_the_manifest_does_not_list_are_refused(honest, tmp_path, more):
    manifest, files = honest
    folder = tmp_path / "cache"
    with pytest.raises(ArtifactError, match="lacks files or holds others"):
        keep_part(part_of(manifest.to_json(), files | more), manifest.id, folder, URL)
    assert not list(folder.iterdir()) and [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_missing_changed_or_doubled_file_is_refused(honest):
    manifest, files = honest
    text = manifest.to_json()
    with pytest.raises(ArtifactError, match="lacks files"):
        read_part(part_of(text, {}), manifest.id)
    changed = {name: content[:-1] + b"\1" for name, content in files.items()}
    with pytest.raises(ArtifactError, match="was changed"):
        read_part(part_of(text, changed), manifest.id)
    packed = io.BytesIO(part_of(text, files))
    with zipfile.ZipFile(packed, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("manifest.json", text)
    with pytest.raises(ArtifactError, match="twice"):
        read_part(packed.getvalue(), manifest.id)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4" + bytes(100), bytes(10_000)])
def test_what_is_no_zip_is_refused(tmp_path, data):
    with pytest.raises(ArtifactError, match=f"{URL}: its client part cannot be read"):
        keep_part(data, "0" * 64, tmp_path, URL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "array",
    [
        np.array([[["x"]]], object),
        np.zeros((2, 3, 32, 4), np.float64),
        np.zeros((2, 3, 32), np.float32),
        np.zeros((2, 3, 32, 400), np.float32),
    ],
)
def test_arrays_of_another_kind_are_refused(honest, tmp_path, array):
    manifest, _ = honest
    stored = io.BytesIO()
    np.save(stored, array, allow_pickle=True)
    files = {"client/statistics.npy": stored.getvalue()}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    hostile = manifest.model_copy(update={"files": hashes})
    folder = keep_part(part_of(hostile.to_json(), files), hostile.id, tmp_path, URL)
    with pytest.raises(HushtuneError, match="Expected shape|not an array file"):
        Client(folder)


def test_a_cached_part_is_checked_each_time_it_is_opened(honest, tmp_path):
    manifest, files = honest
    folder = keep_part(part_of(manifest.to_json(), files), manifest.id, tmp_path, URL)
    path = folder / "manifest.json"
    text = path.read_text()
    weak = identified(
        {**json.loads(text), "encryption": json.loads(text)["encryption"] | {"keys": [8]}}
    )
    for hostile in (text.replace("1088", "1120"), json.dumps(weak)):
        path.write_text(hostile)
        with pytest.raises(ArtifactError):
            Client(folder)
    path.write_text(text)
    statistics = folder / "client" / "statistics.npy"
    statistics.write_bytes(statistics.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="changed or truncated"):
        Client(folder)


def places(value, path=()):
    """All places in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def mutated(rng: random.Random, manifest: dict) -> dict:
    """A manifest with one to three places changed, removed, doubled or added to."""
    hostile = copy.deepcopy(manifest)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([path for path in places(hostile) if path])
        holder = hostile
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        kind = rng.randrange(6)
        if kind == 0:
            del holder[path[-1]]
        elif kind == 1 and isinstance(old, bool | int | float):
            holder[path[-1]] = rng.choice([old * 2, old + 1, -old, old / 3, old * 1e30, float(old)])
        elif kind == 2 and isinstance(holder, dict):
            names = ("variance", "type_name", "lweDimension", "x", "key", "keys")
            holder[rng.choice(names)] = copy.deepcopy(rng.choice(list(HOSTILE.values())))
        elif kind == 3 and isinstance(holder, list):
            holder.insert(path[-1], copy.deepcopy(old))
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(list(HOSTILE.values())))
    return hostile


def test_fuzzed_parts_give_an_error_or_parameters_of_the_list(honest, monkeypatch):
    """The maker of a part knows how ids are made; whatever it writes, noise is the list's."""
    manifest, files = honest
    good, rng = as_dict(manifest), random.Random(20261127)
    told = accepted = 0
    for _ in range(FUZZED):
        hostile = identified(mutated(rng, good))
        try:
            found = Manifest.read(json.dumps(hostile).encode(), "fuzzed")
        except ArtifactError:
            told += 1
            continue
        accepted += 1
        specification = found.encryption.specification()
        for text in re.findall(r'"variance": ([^,}]+)', json.dumps(specification)):
            assert float(text) in VARIANCES.values()
        for dimension in found.encryption.keys:
            assert VARIANCES[dimension] == pytest.approx(curve(dimension))
        assert Manifest.read(found.to_json(), "again") == found
    assert told > FUZZED / 2 and accepted > FUZZED / 100


def curve(dimension: int) -> float:
    """What 128 bits of security need (see tests/fhe/test_parameters.py)."""
    return 2.0 ** (2 * max(-0.025696778711484593 * dimension + 2.675931372549016, -62))


def test_fuzzed_bytes_give_an_error(honest, tmp_path):
    """A part damaged anywhere is refused, or it is the very same part."""
    manifest, files = honest
    good = part_of(manifest.to_json(), files)
    rng = random.Random(1)
    for _ in range(1_000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            folder = keep_part(bytes(data), manifest.id, tmp_path, URL)
        except ArtifactError:
            continue
        assert (folder / "manifest.json").read_bytes() == manifest.to_json()
        assert all((folder / name).read_bytes() == content for name, content in files.items())


def test_a_hostile_width_or_scale_cannot_reach_concrete(honest, tmp_path, tone):
    """Concrete encrypts what is out of range without a word, so we check."""
    manifest, files = honest
    narrow = manifest.encryption.input.model_copy(update={"width": 6})
    encryption = manifest.encryption.model_copy(update={"input": narrow})
    hostile = manifest.model_copy(update={"encryption": encryption})
    folder = keep_part(part_of(hostile.to_json(), files), hostile.id, tmp_path, URL)
    client = Client(folder)
    loud = np.full(client.artifact.front_end().feature_shape, 1e9, np.float32)
    client.encrypt_features(loud)  # clipped to 6 bits, which fit
    with pytest.raises(HushtuneError, match="from 32 to 32"):
        client._scheme.encrypt(client._scheme.create_keys(), np.full((1, *loud.shape), 32))
