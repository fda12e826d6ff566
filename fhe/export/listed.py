"""Compiling to encryption parameters that are on the list.

Concrete's optimizer chooses the dimensions of keys. For circuits with PBS it can be told which it
may choose from. For others it takes the smallest dimension whose noise a value can bear, whatever
it was told; but that falls as the accepted probability of an error rises, by Concrete's curve of
noise against dimension, so that a stricter one leads to the next dimension on the list.
"""

import json
from collections.abc import Callable
from typing import Any

from concrete.ml.quantization import QuantizedModule
from scipy.stats import norm

from ...support.errors import ArtifactError, CompileError
from ..encryption import Encryption
from ..parameters import VARIANCES
from .parameter_list import SLOPE

STRICTEST = 1e-15
"""Below, doubles cannot tell one minus the probability from one."""
OFFSETS = (-0.5, 0.0, -0.9, 0.4)
"""Where within the step of a dimension to aim."""


def compile_listed(
    compile_with: Callable[[float], QuantizedModule], p_error: float
) -> QuantizedModule:
    """Compile, and where needed once more, to parameters that are on the list.

    Args:
        compile_with: compiles with a probability of an error.
        p_error: the largest one allowed.

    Raises:
        CompileError: Concrete found no parameters on the list.
    """
    module = compile_with(p_error)
    if not module.fhe_circuit.programmable_bootstrap_count:
        module = _with_listed_dimension(module, compile_with, p_error)
    encryption_of(module)
    return module


def encryption_of(module: QuantizedModule) -> Encryption:
    """What clients of a compiled module encrypt with.

    Raises:
        CompileError: its parameters are not on the list.
    """
    try:
        return Encryption.of_specification(_specification(module))
    except ArtifactError as error:
        raise CompileError(
            f"Concrete chose encryption parameters that are not on Hushtune's list: {error} Fewer "
            "bits or units, a higher fhe.p_error or fewer network.rounding_bits may help."
        ) from error


def _with_listed_dimension(
    module: QuantizedModule, compile_with: Callable[[float], QuantizedModule], p_error: float
) -> QuantizedModule:
    """A module without PBS whose one key has a dimension on the list."""
    (chosen,) = _dimensions(module)
    deviations = norm.isf(p_error / 2)
    for target in sorted(dimension for dimension in VARIANCES if dimension >= chosen):
        for offset in OFFSETS:
            if _dimensions(module) == [target]:
                return module
            stricter = deviations * 2.0 ** (-SLOPE * (target - chosen + offset))
            wanted = float(2 * norm.sf(stricter))
            if wanted < STRICTEST:
                return module
            module = compile_with(min(p_error, wanted))
    return module


def _dimensions(module: QuantizedModule) -> list[int]:
    keys = _specification(module)["keyset"]["lweSecretKeys"]
    return [key["params"]["lweDimension"] for key in keys]


def _specification(module: QuantizedModule) -> dict[str, Any]:
    specification: dict[str, Any] = json.loads(module.fhe_circuit.client.specs.serialize())
    return specification
