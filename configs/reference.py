"""The reference of all settings, written from the typed models themselves."""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from .schema import Config
from .schema.encoder import EncoderConfig

_BOUNDS = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
    ("multipleOf", "in steps of {}"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
)


ENCODERS_OWN = ("network", "training")
"""Sections of an encoder's configuration that are not those of a catalogue's."""


def config_reference() -> str:
    """Every key of a configuration, and of an encoder's: type, limits, default and meaning, as
    Markdown.
    """
    encoders = _sections("An encoder: the top level", EncoderConfig, ENCODERS_OWN, "encoder: ")
    return "\n\n".join([*_sections("The top level", Config), *encoders]) + "\n"


def _sections(
    title: str,
    whole: type[BaseModel],
    only: tuple[str, ...] | None = None,
    before: str = "",
) -> Iterator[str]:
    """The top level of a configuration and its sections, `only` some or all."""
    schema = whole.model_json_schema()
    models = {"": schema, **schema["$defs"]}
    yield _section(title, schema, models)
    for key, field in schema["properties"].items():
        if only is None or key in only:
            for name, model in _models(key, field, models):
                yield _section(before + name, model, models)


def _models(
    key: str, field: dict[str, Any], models: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The models that a key's value may be, by what to call them, and theirs in turn."""
    kinds = field.get("discriminator", {}).get("mapping", {})
    names = [(kind, reference.rsplit("/", 1)[-1]) for kind, reference in kinds.items()]
    names = names or [("", name) for name in _references(field)]
    for kind, name in names:
        yield f"`{key}`" + (f", `kind: {kind}`" if kind else ""), models[name]
    for _, name in names:
        for inner, nested in models[name]["properties"].items():
            if name not in _references(nested) and inner != "parts":
                yield from _models(f"{key}.{inner}", nested.get("items", nested), models)


def _references(field: Any) -> list[str]:
    """Names of the models a field refers to itself, not within a list."""
    if not isinstance(field, dict):
        return []
    found = [field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else []
    for option in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        found += _references(option)
    return found


def _section(title: str, model: dict[str, Any], models: dict[str, Any]) -> str:
    lines = [f"## {title}", "", _prose(model.get("description", "")), ""]
    required = model.get("required", [])
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field in model["properties"].items():
        nested = _references(field)
        default = "" if key in required else _default(field, bool(nested))
        if key == "kind" and "const" in field:
            continue
        meaning = _prose(field.get("description", "")) or ("see below" if nested else "")
        cells = (f"`{key}`", _type(field), default or "**required**", meaning)
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines + (rows if len(rows) > 2 else ["It has no keys of its own."]))


def _default(field: dict[str, Any], nested: bool) -> str:
    if "default" not in field or (nested and isinstance(field["default"], dict)):
        return "its own"
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`"


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    options = field.get("anyOf") or field.get("oneOf") or field.get("allOf")
    if options:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if "$ref" in field:
        return "a section"
    kind = field.get("type", "anything")
    if kind == "array":
        if "prefixItems" in field:
            return f"[{', '.join(map(_type, field['prefixItems']))}]"
        items = field.get("items", {})
        kind = "list of sections" if "oneOf" in items else f"list of {_type(items)}"
    name = {"number": "number", "integer": "whole number", "string": "text", "null": "`null`"}
    name |= {"boolean": "`true` or `false`"}
    if field.get("format") == "path":
        return "path"
    limits = [words.format(_plain(field[key])) for key, words in _BOUNDS if key in field]
    if field.get("pattern"):
        limits.insert(0, "letters, digits, `.`, `_`, `-`")
    result: str = name.get(kind, kind) + (f" {', '.join(limits)}" if limits else "")
    return result


def _plain(number: float) -> str:
    """Whole numbers in full."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def _prose(docstring: str) -> str:
    """A docstring on one line, its double backticks as Markdown's."""
    return re.sub("``([^`]+)``", r"`\1`", " ".join(inspect.cleandoc(docstring).split()))
