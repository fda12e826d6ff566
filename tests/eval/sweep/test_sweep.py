import json
import shutil

import pytest
import yaml

from hushtune.configs.loading import PACKAGE_FOLDER, dump_config, load_config
from hushtune.eval.sweep.frontier import best, read_sweep, render, write_sweep
from hushtune.eval.sweep.schema import SweepResult
from hushtune.eval.sweep.settings import load_sweep
from hushtune.eval.sweep.sweep import run_sweep, variant_digest
from hushtune.support.errors import CompileError, ConfigError

REPORTS = {
    name: PACKAGE_FOLDER.parent / "docs/reference" / file
    for name, file in {"corpus": "FRONTIER.md", "pipelines": "PIPELINES.md"}.items()
}


@pytest.fixture(scope="module")
def file(linear_run, tmp_path_factory):
    """A sweep over the tiny linear run: as it is, and with a shorter response."""
    folder = tmp_path_factory.mktemp("sweep")
    config = linear_run.config.model_copy(update={"runs": folder / "runs", "name": "linear"})
    (folder / "base.yaml").write_text(dump_config(config))
    (folder / "runs").mkdir()
    (folder / "runs" / ".cache").symlink_to(linear_run.cache)
    variants = [
        {"name": "base"},
        {
            "name": "bits-9",
            "note": "nine bits",
            "encrypted_clips": 3,
            "changes": {"fhe": {"response_bits": 9}},
        },
    ]
    sweep = {"title": "Two", "base": "base.yaml", "encrypted_clips": 4, "variants": variants}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return folder / "sweep.yaml"


@pytest.fixture(scope="module")
def frontier(file):
    messages = []
    frontier = run_sweep(load_sweep(file), command="hushtune sweep", announce=messages.append)
    assert any("Trained as base was" in message for message in messages)
    return frontier


def test_variants_are_measured_in_real_fhe(frontier):
    base, shorter = frontier.variants
    assert (base.encrypted_clips, shorter.encrypted_clips) == (4, 3)
    assert base.pbs == 0 and base.features == 200
    assert base.quantized_accuracy.top1 > 0.9
    assert base.encrypted_agrees == 1, "a circuit without PBS is exact"
    assert base.quantized_accuracy == shorter.quantized_accuracy
    assert base.response_bytes / shorter.response_bytes == pytest.approx(20 / 9, rel=0.03)
    assert 0 < base.compute_seconds < 5
    assert base.evaluation_key_bytes < 1000


def test_a_finished_sweep_measures_nothing_again(file, frontier):
    def refuse(message):
        raise AssertionError(message)

    again = run_sweep(load_sweep(file), announce=refuse)
    assert again.variants == frontier.variants


def test_variants_of_a_published_report_are_not_measured_again(file, frontier, tmp_path):
    write_sweep(frontier, tmp_path / "PAGE.md")
    published = read_sweep(tmp_path / "PAGE.md")

    def refuse(message):
        raise AssertionError(message)

    elsewhere = tmp_path / "elsewhere"
    again = run_sweep(load_sweep(file), folder=elsewhere, published=published, announce=refuse)
    assert again.variants == frontier.variants
    variants = [elsewhere_measured(variant) for variant in published.variants]
    published = published.model_copy(update={"variants": variants})
    again = run_sweep(load_sweep(file), folder=elsewhere, published=published, announce=refuse)
    assert again.variants == variants, "with the machine they came from"
    assert read_sweep(tmp_path / "NOTHING.md") is None


def test_a_finished_variant_can_be_measured_again(file, frontier, tmp_path):
    sweep, messages = load_sweep(file), []
    copy = shutil.copytree(sweep.folder, tmp_path / "copy")
    name = frontier.variants[0].name
    again = run_sweep(sweep, folder=copy, only=(name,), again=True, announce=messages.append)
    first, *others = again.variants
    assert any(message.startswith(f"Variant {name} ") for message in messages)
    assert first.compute_seconds != frontier.variants[0].compute_seconds
    assert first.quantized_accuracy == frontier.variants[0].quantized_accuracy, "not trained again"
    assert first.train_seconds == frontier.variants[0].train_seconds
    assert others == frontier.variants[1:]


def test_a_changed_variant_alone_is_measured_again(file, frontier, tmp_path):
    sweep = yaml.safe_load(file.read_text())
    sweep["variants"][1]["changes"]["fhe"]["response_bits"] = 12
    changed = file.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(sweep))
    messages = []
    folder = load_sweep(file).folder
    again = run_sweep(load_sweep(changed), folder=folder, announce=messages.append)
    assert again.variants[0] == frontier.variants[0]
    assert again.variants[1].response_bytes > frontier.variants[1].response_bytes
    assert not any(message.startswith("Variant base") for message in messages)


def test_a_variant_that_does_not_compile_is_told_and_the_others_stay(
    file, frontier, tmp_path, monkeypatch
):
    def refuse(*_):
        raise CompileError("Concrete cannot compile this network.")

    monkeypatch.setattr("hushtune.eval.sweep.sweep.measure_variant", refuse)
    data = yaml.safe_load(file.read_text())
    data["variants"] = [{"name": "wide", "changes": {"fhe": {"p_error": 0.5}}}, data["variants"][0]]
    changed = file.with_name("wide.yaml")
    changed.write_text(yaml.safe_dump(data))
    folder = load_sweep(file).folder
    result = run_sweep(load_sweep(changed), folder=folder, announce=[].append)
    assert result.variants == frontier.variants[:1]
    assert "cannot compile" in result.failed["wide"]
    write_sweep(result, tmp_path / "F.md")
    assert "wide: does not compile" in (tmp_path / "F.md").read_text()


def test_the_report_shows_every_variant(frontier, tmp_path):
    write_sweep(frontier, tmp_path / "FRONTIER.md")
    page = (tmp_path / "FRONTIER.md").read_text()
    assert "| bits-9 |" in page or "| **bits-9** |" in page
    assert page.startswith("# Two") and "nine bits" in page
    assert (tmp_path / "frontier" / "frontier.png").stat().st_size > 20_000
    stored = SweepResult.model_validate_json((tmp_path / "frontier" / "frontier.json").read_bytes())
    assert stored == frontier
    assert "/" not in json.dumps(stored.model_dump()["variants"]).replace("\\/", ""), "no paths"


def test_numbers_have_no_ranking_to_show(frontier, tmp_path):
    number = frontier.variants[1].model_copy(update={"name": "n", "answer": "number"})
    both = frontier.model_copy(update={"variants": [frontier.variants[0], number]})
    write_sweep(both, tmp_path / "FRONTIER.md")
    (row,) = [
        line
        for line in (tmp_path / "FRONTIER.md").read_text().splitlines()
        if line.startswith("| n |")
    ]
    assert row.count("| - ") == 7 and f"{number.quantized_accuracy.correctly_identified:.1%}" in row
    assert best(both.variants) == {frontier.variants[0].name}


def test_the_frontier_is_what_nothing_beats(frontier):
    def variant(name, dir, seconds):
        figures = frontier.variants[0].quantized_accuracy.model_copy(update={"dir_1_on_test": dir})
        changes = {"name": name, "quantized_accuracy": figures, "compute_seconds": seconds}
        return frontier.variants[0].model_copy(update=changes)

    variants = [variant("a", 0.9, 1.0), variant("b", 0.8, 2.0), variant("c", 0.95, 3.0)]
    assert best(variants) == {"a", "c"}
    apart = variant("d", 0.99, 0.1).model_copy(update={"encrypted_agrees": 0.6})
    assert best([*variants, apart]) == {"a", "c"}, "its figures are not those of real FHE"
    smaller = variant("e", 0.99, 0.1).model_copy(update={"songs": variants[0].songs - 1})
    assert best([*variants, smaller]) == {"a", "c", "e"}, "fewer songs are no match"
    assert best([*variants, elsewhere_measured(variant("d", 0.99, 0.1))]) == {"a", "c"}, (
        "another's seconds"
    )


def elsewhere_measured(variant):
    other = variant.machine.model_copy(update={"processor": "Another"})
    return variant.model_copy(update={"machine": other})


def test_variants_from_another_machine_are_marked(frontier):
    first, second = frontier.variants
    variants = [first, elsewhere_measured(second), first.model_copy(update={"name": "third"})]
    mixed = frontier.model_copy(update={"variants": variants})
    page = render(mixed, "frontier.png")
    assert "| bits-9 [1] |" in page and "[1] Another, " in page
    assert "[1]" not in render(frontier, "frontier.png")


@pytest.mark.parametrize(
    "name, of",
    [
        ("corpus", "default"),
        ("corpus-fastest", "fastest"),
        ("corpus-accurate", "accurate"),
        ("corpus-network", "network"),
    ],
)
def test_the_named_configurations_are_variants_of_the_corpus_sweep(name, of):
    sweep = load_sweep(PACKAGE_FOLDER / "sweeps" / "corpus.yaml")
    variants = {p.name: c for p, c in zip(sweep.file.variants, sweep.configs, strict=True)}
    assert load_config(name).model_copy(update={"name": variants[of].name}) == variants[of]


@pytest.mark.parametrize("name", ["corpus", "pipelines"])
def test_published_variants_have_the_settings_of_their_sweep(name):
    sweep = load_sweep(PACKAGE_FOLDER / "sweeps" / f"{name}.yaml")
    published = read_sweep(REPORTS[name])
    digests = {
        variant.name: variant_digest(
            config, variant.encrypted_clips or sweep.file.encrypted_clips, sweep.file.cores
        )
        for variant, config in sweep.variants
    }
    told = {variant.name: variant.digest for variant in published.variants}
    assert digests == told or published.earlier_version, "none would be measured again"
    assert REPORTS[name].read_text("utf-8") == render(
        published, f"{REPORTS[name].stem.lower()}/frontier.png"
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"variants": []}, "variants"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "'a' is given twice"),
        ({"variants": [{"name": "a", "changes": {"sede": 1}}]}, "Did you mean 'seed'"),
        ({"variants": [{"name": "../a"}]}, "variants.0.name"),
        ({"base": "nothing.yaml"}, "nothing.yaml: cannot be read"),
        ({"variant": []}, "variant: "),
        ({"points": []}, "points: was renamed to variants"),
    ],
)
def test_a_wrong_file_is_told(file, tmp_path, changes, message):
    shutil.copy(file.with_name("base.yaml"), tmp_path / "base.yaml")
    sweep = {**yaml.safe_load(file.read_text()), **changes}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    with pytest.raises(ConfigError, match=message):
        load_sweep(tmp_path / "sweep.yaml")


def test_an_unknown_variant_is_told(file):
    with pytest.raises(ConfigError, match="no such variant. There are: base, bits-9"):
        run_sweep(load_sweep(file), only=("bass",))
