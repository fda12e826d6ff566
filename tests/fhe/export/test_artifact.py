"""Exports: proved, atomic, reproducible."""

import shutil
from pathlib import Path

import pytest

from hushtune.fhe.artifact import MANIFEST, file_hashes, read_manifest
from hushtune.fhe.export import artifact as exporting
from hushtune.fhe.export.artifact import build, export
from hushtune.support.errors import CompileError


def test_an_export_that_disagrees_under_fhe_fails_and_keeps_the_old_one(tiny_run, monkeypatch):
    """The check must be able to fail: here the clear network answers something else."""
    import hushtune.fhe.export.verify as verify

    before = (tiny_run.path("artifact") / "manifest.json").exists()
    honest = verify.network_logits
    monkeypatch.setattr(verify, "network_logits", lambda *a: -honest(*a))
    with pytest.raises(CompileError, match=r"differ from the quantized network's on \d of 4"):
        export(tiny_run, tiny_run.path("artifact"))
    assert (tiny_run.path("artifact") / "manifest.json").exists() == before


def test_an_export_never_replaces_what_is_not_an_artifact(tiny_run, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(CompileError, match="not an artifact"):
        export(tiny_run, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def quick(monkeypatch, linear_artifact):
    """Exports write files of an earlier one instead of compiling."""

    def written(run, folder, **_):
        shutil.copytree(linear_artifact, folder)
        return None, read_manifest(linear_artifact)

    monkeypatch.setattr(exporting, "build", written)


def proved(linear_artifact):
    manifest = read_manifest(linear_artifact)
    return lambda *_, **__: (manifest.costs, manifest.agreement)


@pytest.mark.parametrize("step", ["verify", "model_card", "_replace_folder"])
def test_an_interrupted_export_leaves_the_old_artifact(
    linear_run, linear_artifact, tmp_path, monkeypatch, step
):
    folder = shutil.copytree(linear_artifact, tmp_path / "artifact")
    before = file_hashes(folder), (folder / MANIFEST).read_bytes()
    quick(monkeypatch, linear_artifact)
    monkeypatch.setattr(exporting, "verify", proved(linear_artifact))

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(linear_run, folder)
    assert (file_hashes(folder), (folder / MANIFEST).read_bytes()) == before
    assert list(tmp_path.iterdir()) == [folder], "nothing else is left behind"


def test_a_folder_that_cannot_be_replaced_stays(linear_run, linear_artifact, tmp_path, monkeypatch):
    folder = shutil.copytree(linear_artifact, tmp_path / "artifact")
    (folder / "mark").write_text("old")
    rename = Path.rename

    def refusing(path, target):
        if path.name == "artifact.partial":
            raise OSError("disk full")
        return rename(path, target)

    quick(monkeypatch, linear_artifact)
    monkeypatch.setattr(exporting, "verify", proved(linear_artifact))
    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(OSError, match="disk full"):
        export(linear_run, folder)
    assert (folder / "mark").read_text() == "old" and list(tmp_path.iterdir()) == [folder]
    monkeypatch.undo()
    quick(monkeypatch, linear_artifact)
    monkeypatch.setattr(exporting, "verify", proved(linear_artifact))
    export(linear_run, folder)
    assert not (folder / "mark").exists() and list(tmp_path.iterdir()) == [folder]


def test_the_same_run_compiles_to_the_same_files(linear_run, linear_artifact, tmp_path):
    build(linear_run, tmp_path / "again")
    built, kept = file_hashes(tmp_path / "again"), file_hashes(linear_artifact)
    kept.pop("model-card.md", None)  # with seconds measured
    assert built == kept
