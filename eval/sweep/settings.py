"""Sweep files: a base configuration, and variants that change some of its settings."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...configs.loading import parse_config, read_yaml
from ...configs.schema import Config, Count, Settings
from ...support.errors import ConfigError


class Variant(Settings):
    """One variant."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=48)]
    """Name of its folder and in the table."""
    note: str = ""
    """What it changes, for the table."""
    changes: dict[str, Any] = {}
    """Settings that differ from the base configuration's, nested like it."""
    encrypted_clips: Count | None = None
    """Its test clips under real FHE; as many as the others' where null."""


class SweepFile(Settings):
    """A sweep: one YAML file."""

    title: str = "Sweep"
    """Heading of the report."""
    base: Path
    """The configuration that all variants start from, relative to the sweep's own folder."""
    encrypted_clips: Count = 8
    """Test clips of each variant that run under real FHE."""
    cores: tuple[Count, ...] = ()
    """Numbers of cores to time a query of each variant on, beside all of them."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any) -> Any:
        if isinstance(data, dict) and "points" in data:
            raise ValueError("points: was renamed to variants")
        return data

    @model_validator(mode="after")
    def _check(self) -> "SweepFile":
        names = [variant.name for variant in self.variants]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"variants: the name '{twice[0]}' is given twice")
        return self


class Sweep(BaseModel):
    """A sweep file, checked, with every variant's configuration."""

    model_config = ConfigDict(frozen=True)

    file: SweepFile
    configs: tuple[Config, ...]
    folder: Path
    """Everything is written here where no other folder is named."""

    @property
    def variants(self) -> list[tuple[Variant, Config]]:
        """Every variant with its configuration."""
        return list(zip(self.file.variants, self.configs, strict=True))


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep file and every configuration it stands for.

    Raises:
        ConfigError: no such file, not YAML, or a setting that is not allowed.
    """
    try:
        file = SweepFile.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}."
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    base_path = (path.parent / file.base).resolve()
    base = read_yaml(base_path)
    configs = [
        parse_config(
            _merged(base, variant.changes),
            name=f"{path}, variant '{variant.name}'",
            folder=base_path.parent,
        )
        for variant in file.variants
    ]
    folder = configs[0].runs / f"{path.stem}-sweep"
    return Sweep(file=file, configs=tuple(configs), folder=folder)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with others laid over them; a changed ``kind`` replaces its section."""
    result = dict(base)
    for key, value in changes.items():
        under = result.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            kinds = value.get("kind", under.get("kind")), under.get("kind")
            value = _merged(under, value) if kinds[0] == kinds[1] else value
        result[key] = value
    return result
