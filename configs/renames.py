"""Settings that were renamed: what an old configuration says, and what to say instead.

A key stands for the setting, ``key=value`` for one of its values. An old name is an error that
names the new one; nothing is translated silently.
"""

from collections.abc import Iterator
from typing import Any

RENAMED = {
    "split.unknown_train": "split.known_unknowns",
    "spectrum.levels": "spectrum.quantiles",
    "spectrum.kind=audio": "spectrum.kind=samples",
    "training.images": "training.examples",
    "training.unknown_share": "training.known_unknown_share",
    "training.counterfeit_share": "training.synthetic_negative_share",
    "training.ridge": "training.shrinkage",
    "training.false_alarms": "training.false_alarm_rate",
    "training.remix": "training.noise_share",
    "training.short_clips": "training.short_clip_share",
    "fold.protocol=passages": "fold.protocol=segments",
}


def renamed_settings(data: dict[str, Any]) -> Iterator[str]:
    """One line for each renamed setting or value that nested settings use."""
    for old, new in RENAMED.items():
        path, _, value = old.partition("=")
        *sections, key = path.split(".")
        section: Any = data
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and key in section and value in ("", section[key]):
            yield f"{old}: was renamed to {new}."
