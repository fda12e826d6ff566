"""Changes to the insides of Concrete, Concrete ML and Brevitas while a network is compiled.

They are process-global while a `with` block lasts, and hold for the tested versions alone.

- `exact_weights`: Concrete ML gets the weights of a Brevitas network as floating-point numbers and
  quantizes them once more, to 8 bits over their range: four-bit weights from -7 to 7 come out as
  rounded multiples of about 18. The circuit then has wider accumulators and noisier PBS than the
  network was trained for, which costs seconds, larger keys, and exactness. Here the step between
  the weights is found and kept. And Brevitas exports every quantizer of one bit as a bipolar one,
  of -1 and 1, which Concrete ML does not know. Our activations of one bit are 0 and 1, which the
  operator of more bits can say.
- `blocked_products`: Concrete computes ``x @ W`` output by output and reads all encrypted inputs
  anew for each. 1,536 of them take 15 MB, more than a core's cache holds; 192 take 2 MB. The
  partial products add up to the very same ciphertexts' values, in fewer seconds.
- `ending_in`: circuits end in something computed from the network's integer logits.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import brevitas.export.onnx.qonnx.handler as qonnx
import numpy as np
import numpy.typing as npt
from brevitas.export.onnx.qonnx.function import BrevitasQuantFn
from concrete.fhe.tracing import Tracer
from concrete.ml.quantization import QuantizedArray, QuantizedModule
from concrete.ml.quantization.base_quantized_op import QuantizedMixingOp
from concrete.ml.quantization.post_training import PostTrainingQATImporter
from concrete.ml.quantization.quantizers import UniformQuantizationParameters

from ...support.errors import CompileError

TESTED = {"concrete-ml": "1.9.0", "concrete-python": "2.10.0", "brevitas": "0.10.2"}
MOST_BITS = 8
TOLERANCE = 1e-3
"""How far from a whole number of steps a weight may lie, in steps."""
BLOCK_INPUTS = 192
"""Inputs of a block of a matrix product."""
_HIDDEN = re.compile(r"/blocks\.(\d+)/linear/")
"""What the operations of a hidden layer are named after."""


def check_versions() -> None:
    """Refuse libraries of other versions than those that the changes were tested with.

    Raises:
        CompileError: naming each of them.
    """
    installed = {name: version(name) for name in TESTED}
    wrong = [
        f"{name} {installed[name]} (expected {tested})"
        for name, tested in TESTED.items()
        if installed[name] != tested
    ]
    if wrong:
        raise CompileError(
            "Compiling changes the insides of libraries, and was not tested with "
            f"{', '.join(wrong)}. Install the locked versions."
        )


@contextmanager
def patched(
    *, kept_bits: Sequence[int] = (), ending: Callable[[Any], Any] | None = None
) -> Iterator[None]:
    """Within, Concrete ML compiles quantized networks with all changes.

    Args:
        kept_bits: for `exact_weights`.
        ending: for `ending_in`.

    Raises:
        CompileError: a library is of another version than tested.
    """
    check_versions()
    with exact_weights(kept_bits), blocked_products(), ending_in(ending):
        yield


def step_between(values: npt.NDArray[np.floating[Any]]) -> tuple[float, int] | None:
    """The step that all values are multiples of, and the signed bits that the multiples take.

    Args:
        values: quantized weights in floating point, any shape.

    Returns:
        None where there is no step that leaves at most ``MOST_BITS`` bits.
    """
    levels = np.unique(np.append(np.abs(values.astype(np.float64)), 0.0))
    gaps = np.diff(levels)
    gaps = gaps[gaps > TOLERANCE * levels[-1] / 2**MOST_BITS]
    if not len(gaps):
        return None
    largest = round(levels[-1] / gaps.min())
    step = levels[-1] / largest
    multiples = levels / step
    if np.abs(multiples - np.rint(multiples)).max() > TOLERANCE * max(1, largest):
        return None
    bits = int(largest).bit_length() + 1
    return (float(step), bits) if bits <= MOST_BITS else None


@contextmanager
def exact_weights(kept_bits: Sequence[int] = ()) -> Iterator[None]:
    """Within, Concrete ML compiles quantized networks with their own integers.

    Args:
        kept_bits: of the accumulators of each hidden layer, in order; all as many as Concrete ML
            is told where empty.
    """
    calibrate = PostTrainingQATImporter._calibrate_layers_activation
    process = PostTrainingQATImporter._process_initializer

    def with_kept_bits(
        importer: Any, calibrate_mode: Any, operation: Any, *data: Any, quantizers: Any
    ) -> Any:
        layer = _HIDDEN.match(operation.op_instance_name)
        if layer and kept_bits and isinstance(operation, QuantizedMixingOp):
            operation.rounding_threshold_bits = {
                **operation.rounding_threshold_bits,
                "n_bits": kept_bits[int(layer[1])],
            }
        return calibrate(importer, calibrate_mode, operation, *data, quantizers=quantizers)

    def exactly(importer: Any, n_bits: int, values: Any) -> Any:
        floating = isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.floating)
        found = step_between(values) if floating else None
        if found is None:
            return process(importer, n_bits, values)
        step, bits = found
        parameters = UniformQuantizationParameters(
            scale=np.float64(step), zero_point=0, offset=2 ** (bits - 1)
        )
        return QuantizedArray(
            bits, values, is_signed=True, is_symmetric=False, is_qat=True, params=parameters
        )

    with (
        patch.object(PostTrainingQATImporter, "_calibrate_layers_activation", with_kept_bits),
        patch.object(PostTrainingQATImporter, "_process_initializer", exactly),
        patch.object(qonnx, "BrevitasBinaryQuantFn", BrevitasQuantFn),
    ):
        yield


@contextmanager
def blocked_products() -> Iterator[None]:
    """Within, Concrete traces products of an encrypted and a clear matrix in blocks."""
    product = Tracer.__matmul__

    def in_blocks(values: Any, weights: Any) -> Any:
        if not isinstance(weights, np.ndarray) or values.ndim != 2:
            return product(values, weights)
        first, *others = [
            product(values[:, start : start + BLOCK_INPUTS], weights[start : start + BLOCK_INPUTS])
            for start in range(0, len(weights), BLOCK_INPUTS)
        ]
        return sum(others, start=first)

    with patch.object(Tracer, "__matmul__", in_blocks):
        yield


@contextmanager
def ending_in(ending: Callable[[Any], Any] | None) -> Iterator[None]:
    """Within, Concrete ML compiles circuits that apply a function to a network's integer logits.

    Args:
        ending: from logits, integers [clips, classes], to what the circuit responds with; None for
            the logits themselves.
    """
    if ending is None:
        yield
        return
    plain = QuantizedModule._clear_forward

    def forward(module: Any, *inputs: Any) -> Any:
        return ending(plain(module, *inputs))

    with patch.object(QuantizedModule, "_clear_forward", forward):
        yield
