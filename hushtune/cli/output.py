"""What all commands share: where they write, and how they say things."""

from pathlib import Path

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
messages = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for people, beside the results."""
    messages.print(text, markup=False)


def config_of(path: Path):
    """The configuration that a command was given: a file, a shipped one's name, or a run's."""
    from hushtune.configs.loading import load_config
    from hushtune.training.run import run_config

    return run_config(path) if (path / "config.yaml").is_file() else load_config(path)
