from pathlib import Path

import pytest

from hushtune.configs import schema
from hushtune.configs.loading import PACKAGE_FOLDER
from hushtune.configs.reference import config_reference
from hushtune.configs.schema import Config, Settings

MODELS = [
    model
    for model in vars(schema).values()
    if isinstance(model, type) and issubclass(model, Settings) and model is not Settings
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_is_there_with_its_meaning(model):
    text = config_reference()
    for name, field in model.model_fields.items():
        if name == "kind" or (model is Config and not field.description):
            continue
        assert field.description, f"{model.__name__}.{name} has no docstring"
        meaning = " ".join(field.description.replace("``", "`").split()).replace("|", r"\\|")
        assert any(
            line.startswith(f"| `{name}` |") and meaning in line for line in text.splitlines()
        ), name


def test_the_page_in_the_docs_is_up_to_date():
    page = Path(PACKAGE_FOLDER).parent / "docs" / "reference" / "settings.md"
    assert page.read_text("utf-8") == f"# Settings\n\n{config_reference()}", (
        "run 'hushtune config reference > docs/reference/settings.md'"
    )


def test_limits_and_defaults_are_stated():
    text = config_reference()
    assert "| `rounding_bits` | whole number from 2, to 8 or `null` | `5` |" in text
    assert "| `kernel` | [whole number from 1, whole number from 1] | **required** |" in text
    assert "## `network.layers`, `kind: dense`" in text
