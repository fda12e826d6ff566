"""``hushtune serve``: an artifact as a network service."""

import inspect
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from hushtune.cli.output import console, require_artifact

Artifact = Annotated[Path, typer.Argument(help="Folder of an artifact: client, server parts.")]
CONTEXT = {"help_option_names": ["-h", "--help"]}


def serve(artifact: Artifact) -> None:
    """Serve an artifact over HTTP: clients send keys and queries, and nothing in the clear.

    Example: [bold]hushtune serve runs/demo/artifact --port 8714[/bold]
    """
    _serve(artifact)


class Commands(TyperGroup):
    """All commands; `serve` gets its options, one for each of the service's settings, when used.

    To load the settings takes longer than to list the commands.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _serve_with_options() if name == "serve" else command, rest


def _serve(artifact: Path, **options: object) -> None:
    require_artifact(artifact)
    from hushtune.service.serving import serve as serve_artifact
    from hushtune.service.serving import service_settings

    serve_artifact(
        artifact,
        service_settings({name: value for name, value in options.items() if value is not None}),
        announce=lambda url: console.print(f"Serving at {url}", markup=False),
    )


def _serve_with_options() -> TyperCommand:
    """`serve` with an option for each of the service's settings, named and told as there."""
    from hushtune.service.settings import ServiceSettings

    def command(artifact: Path, **options: object) -> None:
        _serve(artifact, **options)

    parameters = [inspect.signature(serve).parameters["artifact"]]
    for name, field in ServiceSettings.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        kind = next(kind for kind in kinds if kind is not NoneType)
        help_text = " ".join((field.description or "").replace("`", "").split())
        if field.default is not None and field.default_factory is None:
            help_text += f" Default: {field.default}."
        option = typer.Option(f"--{name.replace('_', '-')}", help=help_text, show_default=False)
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    command.__doc__ = serve.__doc__
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010
    app = typer.Typer(
        rich_markup_mode="rich", context_settings=CONTEXT, pretty_exceptions_enable=False
    )
    app.command("serve")(command)
    made = typer.main.get_command(app)
    assert isinstance(made, TyperCommand)
    return made
