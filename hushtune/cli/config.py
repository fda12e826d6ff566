"""``hushtune config``: show, check and explain configurations."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console
from hushtune.support.errors import CatalogueError, ConfigError

group = typer.Typer(help="Show or check configurations.", no_args_is_help=True)


@group.command()
def show(
    config: Annotated[Path, typer.Argument(help="A YAML file or a shipped config's name.")],
) -> None:
    """Print a configuration with every default filled in.

    Example: [bold]hushtune config show demo[/bold]
    """
    from hushtune.configs.loading import dump_config, load_config

    sys.stdout.write(dump_config(load_config(config)))


@group.command()
def reference() -> None:
    """Print every key of a configuration, with its limits, default and meaning, as Markdown.

    Example: [bold]hushtune config reference > settings.md[/bold]
    """
    from hushtune.configs.reference import config_reference as reference

    sys.stdout.write(f"# Settings\n\n{reference()}")


@group.command()
def check(
    configs: Annotated[list[Path], typer.Argument(help="YAML files or shipped configs' names.")],
) -> None:
    """Check configurations and look at their music; exit code 1 if one is wrong.

    Example: [bold]hushtune config check configs/*.yaml[/bold]
    """
    from hushtune.configs.loading import load_config
    from hushtune.training.data.catalogue import catalogue_facts

    wrong = []
    for config in configs:
        try:
            loaded = load_config(config)
            facts = catalogue_facts(loaded.catalogue)
            console.print(f"{config}: ok, {facts}", markup=False)
        except ConfigError as error:
            wrong.append(str(error))
        except CatalogueError as error:
            wrong.append(f"{config}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
