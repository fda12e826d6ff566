import numpy as np
import pytest
from concrete import fhe

from hushtune.fhe.export import patches
from hushtune.fhe.export.patches import BLOCK_INPUTS as INPUTS
from hushtune.fhe.export.patches import blocked_products, patched, step_between
from hushtune.support.errors import CompileError

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


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_the_step_is_found(bits):
    rng = np.random.default_rng(bits)
    most = 2 ** (bits - 1) - 1
    integers = rng.integers(-most, most + 1, (50, 40))
    integers[0, 0] = most
    values = (0.0371 * integers).astype(np.float32)
    step, found = step_between(values)
    assert step == pytest.approx(0.0371, rel=1e-5) and found == bits
    assert (np.rint(values / step) == integers).all()


def test_what_is_no_multiple_of_a_step_has_none():
    assert step_between(np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)) is None
    assert step_between(np.zeros((3, 3), np.float32)) is None


def test_one_level_is_enough():
    assert step_between(np.array([0.0, 0.5, -0.5], np.float32)) == (0.5, 2)


def test_other_versions_than_tested_are_refused(monkeypatch):
    """Both at once, before anything is changed."""
    other = {"concrete-ml": "9.9.9", "concrete-python": "2.10.0", "brevitas": "8.8.8"}
    monkeypatch.setattr(patches, "version", other.__getitem__)
    wrong = r"concrete-ml 9.9.9 \(expected 1.9.0\), brevitas 8.8.8"
    with pytest.raises(CompileError, match=wrong), patched():
        pass


def test_all_changes_are_undone():
    names = {
        patches.PostTrainingQATImporter: ("_calibrate_layers_activation", "_process_initializer"),
        patches.qonnx: ("BrevitasBinaryQuantFn",),
        patches.Tracer: ("__matmul__",),
        patches.QuantizedModule: ("_clear_forward",),
    }

    def state():
        return [getattr(thing, name) for thing, those in names.items() for name in those]

    before = state()
    with pytest.raises(ZeroDivisionError), patched(ending=lambda logits: logits):
        assert all(now is not then for now, then in zip(state(), before, strict=True))
        raise ZeroDivisionError
    assert state() == before
