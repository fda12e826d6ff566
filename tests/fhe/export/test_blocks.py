import numpy as np
import pytest
from concrete import fhe
from hushtune.fhe.export.blocks import INPUTS, blocked_products

rng = np.random.default_rng(0)


def compiled(weights):
    examples = list(rng.integers(-7, 8, (8, 1, len(weights))))
    compiler = fhe.Compiler(lambda values: values @ weights, {"values": "encrypted"})
    return compiler.compile(examples), examples[0]


@pytest.mark.parametrize("inputs, products", [(40, 1), (INPUTS, 1), (2 * INPUTS + 16, 3)])
def test_a_product_in_blocks_is_the_same_product(inputs, products):
    weights = rng.integers(-7, 8, (inputs, 6))
    with blocked_products():
        circuit, example = compiled(weights)
    assert circuit.mlir.count("FHELinalg.matmul") == products
    np.testing.assert_array_equal(circuit.encrypt_run_decrypt(example), example @ weights)
    plain, _ = compiled(weights)
    assert plain.mlir.count("FHELinalg.matmul") == 1, "only within"
    widths = [one.graph.maximum_integer_bit_width() for one in (circuit, plain)]
    assert abs(widths[0] - widths[1]) <= 1
