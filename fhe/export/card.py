"""The model card that ``compile`` writes into every artifact: what it is, costs, and cannot do.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Its text is in
``model-card.md.j2``.
"""

from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...configs.schema import Config
from ...support.units import readable_bytes
from ...training.data.split import Split
from ..diagram import draw_pipeline
from ..manifest import Manifest

NAME = "model-card.md"
UNSTATED = "not stated by the catalogue"
FIGURES = {
    "right song first, of enrolled songs": "top1_closed",
    "among the first three": "top3_closed",
    'right song first, "unknown" competing': "top1",
    "enrolled songs falsely rejected": "falsely_rejected",
    "unknown songs rejected": "unknown_rejected",
    "correctly identified at 1 % false alarms (DIR)": "dir_at_1_percent",
}
"""Titles of a run's figures."""


def model_card(manifest: Manifest, config: Config, split: Split) -> str:
    """The card of an artifact.

    Args:
        manifest: of the artifact, with its costs and agreement.
        config: that it was trained from.
        split: what is enrolled, and the known unknowns.

    Returns:
        Markdown.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["bytes"] = readable_bytes
    return environment.get_template(f"{NAME}.j2").render(
        manifest=manifest,
        config=config,
        split=split,
        composed=config.catalogue.kind == "composed",
        licences=_licences(split),
        figures=FIGURES.items(),
        pipeline=draw_pipeline(manifest),
    )


def _licences(split: Split) -> list[tuple[str, int, int]]:
    """Licences with the number of enrolled tracks and known unknowns, the commonest first."""
    known, unknown = (
        Counter(track.license or UNSTATED for track in tracks)
        for tracks in (split.known, split.known_unknowns)
    )
    kinds = sorted((known + unknown).items(), key=lambda item: (-item[1], item[0]))
    return [(kind.replace("|", "/"), known[kind], unknown[kind]) for kind, _ in kinds]
