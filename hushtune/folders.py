"""Where Hushtune keeps things for its user (XDG base directories)."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Keys, and what a service stores: must not be lost."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "hushtune"


def cache_folder() -> Path:
    """What can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hushtune"
