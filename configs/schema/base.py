"""What all sections are made from."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(strict=True, ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]
WeightBits = Annotated[int, Field(strict=True, ge=2, le=8)]


class Settings(BaseModel):
    """Base of all sections: immutable, strict about unknown keys, documented by docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
