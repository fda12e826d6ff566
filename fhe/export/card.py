"""The model card that ``compile`` writes into every artifact: what it is, costs, and cannot do.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...configs.schema import Config, ModulationSpectrum
from ...support.units import readable_bytes
from ...training.data.split import Split
from ..diagram import draw_pipeline

NAME = "model-card.md"
UNSTATED = "not stated by the catalogue"


def model_card(manifest: dict, config: Config, split: Split) -> str:
    """The card of an artifact.

    Args:
        manifest: of the artifact, with its costs and agreement.
        config: that it was trained from.
        split: what is enrolled and what taught "unknown".

    Returns:
        Markdown.
    """
    sections = [
        f"# Model card: {manifest['name']}",
        _paragraph(
            f"Names which of {len(manifest['catalogue']):,} songs a clip of music is of, or says "
            '"unknown". It runs under fully homomorphic encryption (TFHE, 128 bits of security): '
            "the server sees neither the clip nor the answer.",
            f"Artifact {manifest['id'][:16]}, made {manifest['created']} with "
            + ", ".join(f"{name} {value}" for name, value in manifest["versions"].items())
            + ".",
        ),
        "## Intended use",
        "Recognizing recordings that are in the catalogue, as a loudspeaker plays them in a room: "
        f"clips of {config.signal.crop_seconds:g} s (1 to 20 s are taken), noise, reverberation, "
        "equalizers and lossy codecs. Not for other recordings or performances of the same piece, "
        "not for proving what was played: an answer is a probability, not evidence.",
        "## What it was made of",
        _data(config, split),
        "## What is computed where",
        f"```\n{draw_pipeline(manifest)}\n```",
        "## How good it is",
        _accuracy(manifest),
        "## What it costs",
        _costs(manifest),
        "## Limits",
        _limits(manifest, config),
    ]
    return "\n\n".join(sections) + "\n"


def _paragraph(*sentences: str) -> str:
    return " ".join(sentences)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _data(config: Config, split: Split) -> str:
    augment = config.augment
    noise = "recorded" if augment.noise else "synthesised"
    rooms = "measured" if augment.impulse_responses else "synthesised"
    composed = config.catalogue.kind == "composed"
    music = "composed by Hushtune itself" if composed else "from the owner's catalogue"
    text = (
        f"{len(split.known):,} enrolled tracks and {len(split.known_unknowns):,} that teach "
        f'"unknown", {music}; {config.training.views} augmented renderings of each, '
        f"{config.training.examples:,} training images, {noise} noise at "
        f"{augment.snr_db[0]:g} to {augment.snr_db[1]:g} dB, {rooms} rooms. Licences:"
    )
    if composed:
        return text.replace(" Licences:", " No licences are involved.")
    lists = (split.known, split.known_unknowns)
    kinds = Counter(track.license or UNSTATED for tracks in lists for track in tracks)
    count = [Counter(track.license or UNSTATED for track in tracks) for tracks in lists]
    rows = [(kind.replace("|", "/"), *(each[kind] for each in count)) for kind, _ in _by(kinds)]
    return f"{text}\n\n{_table(('licence', 'enrolled', 'teach unknown'), rows)}"


def _by(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _accuracy(manifest: dict) -> str:
    agreement = manifest["agreement"]
    proof = (
        f"Proved at export: on {agreement['clips']} held-out clips, real FHE gave another answer "
        f"than the quantized network on {agreement['execute_differs']}."
    )
    measured = manifest["accuracy"]
    if not measured:
        return f"Not measured: `hushtune train` measures it on test clips.\n\n{proof}"
    conditions = measured["conditions"]
    rows = [
        (title, *(f"{measured[network][key]:.1%}" for network in ("float", "quantized")))
        for title, key in (
            ("right song first, of enrolled songs", "top1_closed"),
            ("among the first three", "top3_closed"),
            ('right song first, "unknown" competing', "top1"),
            ("enrolled songs lost as unknown", "known_lost_as_unknown"),
            ("unknown songs rejected", "unknown_rejected"),
            ("found at 1 % false alarms (DIR)", "dir_at_1_percent"),
        )
    ]
    by_ratio = measured["quantized"]["top1_closed_by_snr_db"]
    rows += [(f"right song first at {snr} dB", "", f"{top:.1%}") for snr, top in by_ratio.items()]
    seconds = conditions["clip_seconds"]
    text = (
        f"{measured['quantized']['clips_known']:,} clips of {conditions['known_songs']:,} enrolled "
        f"songs and {measured['quantized']['clips_unknown']:,} of {conditions['unknown_songs']:,} "
        f"others that training never met, {seconds:g} s each, "
        f"{', '.join(map(str, conditions['snr_db']))} dB; {conditions['sounds']}. "
        "Clips of enrolled songs are cut from the enrolled tracks."
    )
    return f"{text}\n\n{_table(('', 'floating point', 'quantized'), rows)}\n\n{proof}"


def _costs(manifest: dict) -> str:
    costs, circuit = manifest["costs"], manifest["circuit"]
    keys = costs["evaluation_key_bytes"]
    rows = [
        ("server, a query", f"{costs['compute_seconds']:.2f} s"),
        (
            "client: encrypt, decrypt",
            f"{costs['encrypt_seconds'] + costs['decrypt_seconds']:.2f} s",
        ),
        ("query", readable_bytes(costs["query_bytes"])),
        ("response", readable_bytes(costs["response_bytes"])),
        ("evaluation keys, uploaded once", readable_bytes(keys) if keys > 1e4 else "none"),
        ("table look-ups (PBS)", f"{circuit['pbs']:,}"),
    ]
    return f"On the machine that exported it:\n\n{_table(('', 'cost'), rows)}"


def _limits(manifest: dict, config: Config) -> str:
    points = [
        "It knows its catalogue and nothing else; a changed catalogue must be trained and "
        "compiled again.",
        "Accuracy falls with noise and with shorter clips; other noise, rooms or devices than "
        "those measured may do worse.",
        "The client learns the song's number alone, not how probable it is."
        if manifest["number"]
        else "The client decrypts a logit for every song, from which it could learn something "
        "about the model.",
        "The server is not proved to compute what it should; it learns that, when and from where "
        "somebody asked.",
    ]
    speed = config.augment.speed_percent
    if isinstance(config.spectrum, ModulationSpectrum):
        points.insert(2, f"Music played faster or slower by more than {speed:g} % is not expected.")
    if manifest["circuit"]["pbs"]:
        points.append(
            f"A look-up errs with a probability of up to {manifest['circuit']['p_error']:.1g}."
        )
    return "\n".join(f"- {point}" for point in points)
