"""Where Hushtune keeps things for its user (XDG base directories on Linux)."""

from pathlib import Path

from platformdirs import user_cache_path, user_data_path


def data_folder() -> Path:
    """Keys, and what a service stores: must not be lost."""
    return user_data_path("hushtune")


def cache_folder() -> Path:
    """What can be fetched again."""
    return user_cache_path("hushtune")
