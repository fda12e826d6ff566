"""Import quantized weights as the integers they are.

Concrete ML 1.9 gets the weights of a Brevitas network as floating-point numbers and quantizes
them once more, to 8 bits over their range: four-bit weights from -7 to 7 come out as rounded
multiples of about 18. The circuit then has wider accumulators and noisier look-ups than the network
was trained for, which costs seconds, larger keys, and exactness. Here the step between the weights
is found and kept.

And Brevitas 0.10 exports every quantizer of one bit as a bipolar one, of -1 and 1, which Concrete
ML does not know. Our activations of one bit are 0 and 1, which the operator of more bits can say.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import brevitas.export.onnx.qonnx.handler
import concrete.ml.torch.compile
import numpy as np
from brevitas.export.onnx.qonnx.function import BrevitasQuantFn
from concrete.ml.quantization import QuantizedArray
from concrete.ml.quantization.base_quantized_op import QuantizedMixingOp
from concrete.ml.quantization.post_training import PostTrainingQATImporter
from concrete.ml.quantization.quantizers import UniformQuantizationParameters

MOST_BITS = 8
BLOCK = re.compile(r"/blocks\.(\d+)/linear/")
"""What the operations of a hidden layer are named after."""
TOLERANCE = 1e-3
"""How far from a whole number of steps a weight may lie, in steps."""


def step_between(values: np.ndarray) -> tuple[float, int] | None:
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
    rough = gaps.min()
    largest = round(levels[-1] / rough)
    step = levels[-1] / largest
    multiples = levels / step
    if np.abs(multiples - np.rint(multiples)).max() > TOLERANCE * max(1, largest):
        return None
    bits = int(largest).bit_length() + 1
    return (float(step), bits) if bits <= MOST_BITS else None


class ExactImporter(PostTrainingQATImporter):
    """Concrete ML's importer of quantized networks, with exact weights.

    Attributes:
        kept_bits: of the accumulators of each hidden layer, in order; all as Concrete ML would
            where empty.
    """

    kept_bits: tuple[int, ...] = ()

    def _calibrate_layers_activation(self, calibrate_mode, quantized_op, *data, quantizers):
        layer = BLOCK.match(quantized_op.op_instance_name)
        if layer and self.kept_bits and isinstance(quantized_op, QuantizedMixingOp):
            quantized_op.rounding_threshold_bits = {
                **quantized_op.rounding_threshold_bits,
                "n_bits": self.kept_bits[int(layer[1])],
            }
        return super()._calibrate_layers_activation(
            calibrate_mode, quantized_op, *data, quantizers=quantizers
        )

    def _process_initializer(self, n_bits, values):
        if isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.floating):
            found = step_between(values)
            if found is not None:
                step, bits = found
                parameters = UniformQuantizationParameters(
                    scale=np.float64(step), zero_point=0, offset=2 ** (bits - 1)
                )
                return QuantizedArray(
                    bits,
                    values,
                    is_signed=True,
                    is_symmetric=False,
                    is_qat=True,
                    params=parameters,
                )
        return super()._process_initializer(n_bits, values)


@contextmanager
def exact_weights(kept_bits: Sequence[int] = ()) -> Iterator[None]:
    """Within, Concrete ML compiles quantized networks with their own integers.

    Args:
        kept_bits: of the accumulators of each hidden layer, in order; all as many as Concrete ML
            is told where empty.
    """
    importer = type("Importer", (ExactImporter,), {"kept_bits": tuple(kept_bits)})
    exporter = brevitas.export.onnx.qonnx.handler
    with (
        patch.object(concrete.ml.torch.compile, "PostTrainingQATImporter", importer),
        patch.object(exporter, "BrevitasBinaryQuantFn", BrevitasQuantFn),
    ):
        yield
