"""Reading configurations: YAML to typed settings, with errors a person can act on."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..support.errors import ConfigError
from .renames import renamed_settings
from .schema import Config
from .schema.encoder import EncoderConfig

Section = TypeVar("Section", bound=BaseModel)
Whole = TypeVar("Whole", Config, EncoderConfig)

PACKAGE_FOLDER = Path(__file__).parent


ENCODER_CONFIG = "encoder.yaml"
"""The shipped configuration of an encoder; all others are of catalogues."""


def shipped_configs() -> list[Path]:
    """The configurations of catalogues that come with Hushtune."""
    return sorted(p for p in PACKAGE_FOLDER.glob("*.yaml") if p.name != ENCODER_CONFIG)


def load_config(path: str | Path) -> Config:
    """Read and check a configuration; its paths become absolute.

    Input paths are relative to the file's own folder, ``runs`` to the working directory.

    Args:
        path: a YAML file, or the name of a shipped one (``demo`` or ``demo.yaml``).

    Raises:
        ConfigError: no such file, not YAML, or a key or value that is not allowed.
    """
    path = _find(Path(path))
    return parse_config(read_yaml(path), name=str(path), folder=path.parent)


def read_yaml(path: Path) -> dict[str, Any]:
    """Nested settings, as a YAML file gives them.

    Raises:
        ConfigError: no such file, not YAML, or no settings.
    """
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected 'key: value' settings, found {type(data).__name__}.")
    return data


def parse_config(data: dict[str, Any], *, name: str, folder: Path) -> Config:
    """Check settings and make their paths absolute.

    Args:
        data: nested settings, as YAML gives them.
        name: what to call the source in an error.
        folder: relative paths start here.

    Raises:
        ConfigError: every problem found, one a line.
    """
    renamed = list(renamed_settings(data))
    if renamed:
        raise ConfigError("\n".join(f"{name}: {line}" for line in renamed))
    return _parsed(Config, data, name, folder)


def load_encoder_config(path: str | Path) -> EncoderConfig:
    """Read and check the configuration of an encoder, as `load_config` does.

    Args:
        path: a YAML file, or ``encoder`` or ``encoder.yaml`` for the shipped one.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that is not allowed.
    """
    path = Path(path)
    if not path.is_file() and path.name in (ENCODER_CONFIG, Path(ENCODER_CONFIG).stem):
        path = PACKAGE_FOLDER / ENCODER_CONFIG
    return _parsed(EncoderConfig, read_yaml(path), str(path), path.parent)


def _parsed(model: type[Whole], data: dict[str, Any], name: str, folder: Path) -> Whole:
    try:
        config = model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(problem, data, model) for problem in error.errors()]
        raise ConfigError("\n".join(f"{name}: {line}" for line in lines)) from error
    config = _with_absolute_paths(config, folder.resolve())
    return config.model_copy(update={"runs": Path(data.get("runs", "runs")).expanduser().resolve()})


def dump_config(config: Config | EncoderConfig) -> str:
    """The configuration as YAML, every default filled in."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for shipped in shipped_configs():
        if path.name in (shipped.name, shipped.stem) and path.parent in (Path(), Path("configs")):
            return shipped
    names = ", ".join(shipped.stem for shipped in shipped_configs())
    raise ConfigError(f"{path}: no such configuration. Give a YAML file or one of: {names}.")


def _with_absolute_paths(settings: Section, folder: Path) -> Section:
    changes: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Path):
            changes[name] = Path((folder / value.expanduser()).resolve())
        elif isinstance(value, BaseModel):
            changes[name] = _with_absolute_paths(value, folder)
        elif isinstance(value, tuple) and any(isinstance(part, BaseModel) for part in value):
            changes[name] = tuple(_with_absolute_paths(part, folder) for part in value)
    return settings.model_copy(update=changes)


def _explain(problem: ErrorDetails, data: dict[str, Any], whole: type[BaseModel]) -> str:
    """One pydantic problem as: key=value, what is wrong, what is allowed."""
    location = [part for part in problem["loc"]]
    keys = _keys(location, data)
    key = ".".join(str(part) for part in keys)
    if problem["type"] == "extra_forbidden":
        allowed = sorted(set(_sibling_names(keys[:-1], whole)))
        near = difflib.get_close_matches(str(keys[-1]), allowed, 1, 0.5)
        hint = f"Did you mean '{near[0]}'?" if near else f"Allowed: {', '.join(allowed)}."
        return f"{key}: unknown key. {hint}"
    if problem["type"] == "missing":
        return f"{key}: this setting is required."
    if problem["type"].startswith("union_tag"):
        kinds = sorted(kind for model in _models_at(keys, whole) for kind in _kinds(model))
        found = problem["input"].get("kind") if isinstance(problem["input"], dict) else None
        return f"{key}.kind={found!r}: expected one of {', '.join(kinds)}."
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}={_short(problem['input'])}: {message}."


def _keys(location: list[Any], data: Any) -> list[Any]:
    """The location without the union tags that pydantic adds."""
    keys = []
    for part in location:
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        elif isinstance(data, dict) and data.get("kind") == part:
            continue
        keys.append(part)
    return keys


def _sibling_names(keys: list[Any], whole: type[BaseModel]) -> Iterator[str]:
    """Names allowed in the section at `keys`, over all alternatives of a union."""
    for model in _models_at(keys, whole):
        yield from model.model_fields


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _models_at(keys: list[Any], whole: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that the section at `keys` may be read into."""
    models: list[type[BaseModel]] = [whole]
    for key in keys:
        if isinstance(key, str):
            models = [
                inner
                for model in models
                if key in model.model_fields
                for inner in _models_in(model.model_fields[key].annotation)
            ]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
