from collections import Counter
from dataclasses import replace

import pytest

from hushtune.fhe.artifact import read_manifest
from hushtune.fhe.export.card import UNSTATED, model_card


@pytest.fixture(scope="module")
def manifest(tiny_artifact):
    return read_manifest(tiny_artifact)


def test_an_artifact_carries_its_card(tiny_artifact, tiny_run, manifest):
    card = (tiny_artifact / "model-card.md").read_text("utf-8")
    assert card == model_card(manifest, tiny_run.config, tiny_run.split())
    measured = tiny_run.read_json("result.json")
    costs = manifest.costs
    for stated in (
        "which of 6 songs",
        f"{measured['quantized']['top1_closed']:.1%}",
        f"{measured['float']['unknown_rejected']:.1%}",
        f"| {costs.compute_seconds:.2f} s |",
        f"| {costs.evaluation_key_bytes / 1e6:.1f} MB |",
        "| table lookups (PBS) | 18 |",
        f"{manifest.agreement.clips} held-out clips",
        "composed by Hushtune itself",
        "## Limits",
    ):
        assert stated in card
    assert str(tiny_run.folder.parent) not in card


def test_licences_are_counted_where_the_catalogue_states_them(manifest, tiny_run):
    split = tiny_run.split()
    licences = ["CC0-1.0", "CC0-1.0", "CC-BY-4.0", "", "", ""]
    known = [replace(t, license=name) for t, name in zip(split.known, licences, strict=True)]
    config = tiny_run.config.model_copy(
        update={"catalogue": tiny_run.config.catalogue.model_copy(update={"kind": "csv"})}
    )
    card = model_card(manifest, config, replace(split, known=tuple(known)))
    for name, count in Counter(licences).items():
        taught = 0 if name else len(split.known_unknowns)
        assert f"| {name or UNSTATED} | {count} | {taught} |" in card
    assert "from the owner's catalogue" in card


def test_what_was_not_measured_is_not_stated(manifest, tiny_run):
    card = model_card(
        manifest.model_copy(update={"accuracy": None}), tiny_run.config, tiny_run.split()
    )
    assert "Not measured" in card and "%" not in card.split("## How good")[1].split("## What it")[0]
