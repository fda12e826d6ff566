"""Compiling a trained network to an FHE circuit, with Concrete ML."""

import warnings

import numpy as np
import numpy.typing as npt
import torch
from concrete import fhe
from concrete.ml.quantization import QuantizedModule
from concrete.ml.torch.compile import compile_brevitas_qat_model

from ...configs.schema import FheSettings
from ...model.network import Network
from ...support.errors import CompileError
from ..number import Number
from ..schemes.ranges import listed_ranges
from .listed import compile_listed
from .number import NumberCircuit
from .patches import patched

SAFE_P_ERROR = 1e-6
"""Of the PBS that find the song's number: one that errs can name any song, and there are thousands,
while a network averages over its errors. (For few songs more errors would do, but take larger keys
and no fewer seconds.)"""


def compile_network(
    network: Network,
    calibration: npt.NDArray[np.float32],
    settings: FheSettings,
    number: Number | None = None,
) -> QuantizedModule:
    """Compile a whole quantized network with Concrete ML, at 128 bits of security.

    Args:
        network: trained.
        calibration: features from which the compiler learns the range of every value,
            float32 [clips, channels, bands, columns].
        settings: p_error and rounding.
        number: how the circuit finds the song's number; None for one that ends in the logits.

    Raises:
        CompileError: the compiler found no parameters, or met something it cannot compile.
    """
    kept = network.kept_bits
    rounding = None
    if kept:
        rounding = {"n_bits": max(kept), "method": settings.rounding_method.upper()}
    try:
        with (
            warnings.catch_warnings(),
            patched(kept_bits=kept, ending=None if number is None else NumberCircuit(number)),
        ):
            warnings.simplefilter("ignore")
            return compile_listed(
                lambda p_error: compile_brevitas_qat_model(
                    network.for_export(),
                    torch.from_numpy(calibration),
                    rounding_threshold_bits=rounding,
                    p_error=p_error,
                    configuration=_configuration(kept, settings, number),
                ),
                settings.p_error if number is None else min(settings.p_error, SAFE_P_ERROR),
            )
    except (RuntimeError, AssertionError, ValueError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CompileError(
            f"Concrete cannot compile this network: {first_line}. Fewer bits or "
            "units, a higher fhe.p_error or fewer network.rounding_bits may help."
        ) from error


def _configuration(
    kept_bits: list[int], settings: FheSettings, number: Number | None
) -> fhe.Configuration:
    strategy = settings.parameter_strategy
    if strategy == "auto":
        strategy = "precision" if number is None else "precision_and_norm2"
    mono = strategy == "mono"
    return fhe.Configuration(
        compress_input_ciphertexts=True,
        compress_evaluation_keys=True,
        dump_artifacts_on_unexpected_failures=False,  # into the working directory
        range_restriction=listed_ranges(),
        parameter_selection_strategy="mono" if mono else "multi",
        multi_parameter_strategy="precision" if mono else strategy,
        approximate_rounding_config=fhe.ApproximateRoundingConfig(
            # otherwise a second PBS is added from five kept bits upwards
            approximate_clipping_start_precision=max(5, max(kept_bits, default=0) + 1)
        ),
    )
