"""Prints the tables of `hushtune.fhe.parameters`, with every value asked of Concrete's optimizer.

``python -m hushtune.fhe.export.parameter_list``

Concrete writes into each circuit the noise that its key's dimension needs for 128 bits of security:
a deviation of 2**(slope * dimension + bias) of the torus, and never less than 2**-62. That line was
fitted by its authors to the lattice estimator (``concrete-security-curves-rust`` in Concrete's
repository). The dimensions on the list are multiples of `STEP`, and sizes of GLWE keys.
"""

import json
from collections.abc import Iterator

import numpy as np
from concrete import fhe
from mlir._mlir_libs._concretelang._compiler import RangeRestriction

from ..parameters import GLWE_SHAPES, VARIANCES
from ..schemes.ranges import restriction

SMALLEST, LARGEST, STEP = 704, 1664, 32
"""Dimensions of LWE keys."""
SHAPES = (
    *((k, 256) for k in (3, 4, 5, 6)),
    *((k, 512) for k in (2, 3, 4, 5, 6)),
    *((k, 1024) for k in (1, 2, 3, 4, 5, 6)),
    *((k, 2048) for k in (1, 2, 3)),
    *((k, 1 << log) for log in range(12, 15) for k in (1, 2)),
)
"""GLWE dimension and polynomial size."""
SLOPE, BIAS, LEAST = -0.025696778711484593, 2.675931372549016, 2.0 - 64
"""Of Concrete's curve for 128 bits."""


def curve(dimension: int) -> float:
    """The variance that a binary key of this dimension needs."""
    return float(2.0 ** (2 * max(SLOPE * dimension + BIAS, LEAST)))


def dimensions() -> list[int]:
    """All dimensions on the list."""
    lwe = range(SMALLEST, LARGEST + 1, STEP)
    return sorted({*lwe, *(k * size for k, size in SHAPES)})


def asked() -> Iterator[tuple[int, float]]:
    """Dimensions and variances in circuits that Concrete compiles, as far as it can be made to."""
    for dimension in range(SMALLEST, LARGEST + 1, STEP):
        yield from _chosen(restriction([dimension], range(10, 17), [1, 2]))
    for glwe, size in SHAPES:
        lwe = range(SMALLEST, LARGEST + 1, STEP)
        yield from _chosen(restriction(lwe, [size.bit_length() - 1], [glwe]))


def _chosen(restriction: RangeRestriction) -> Iterator[tuple[int, float]]:
    table = fhe.LookupTable([0, 3, 2, 1])
    compiler = fhe.Compiler(lambda x: table[x], {"x": "encrypted"})
    circuit = compiler.compile(
        [np.int64(value) for value in range(4)],
        configuration=fhe.Configuration(p_error=0.3, range_restriction=restriction),
    )
    keyset = json.loads(circuit.client.specs.serialize())["keyset"]
    for key in keyset["lweKeyswitchKeys"]:
        yield key["params"]["outputLweDimension"], key["params"]["variance"]
    for key in keyset["lweBootstrapKeys"]:
        params = key["params"]
        yield params["glweDimension"] * params["polynomialSize"], params["variance"]


def main() -> None:
    """Print the tables; say which values Concrete confirmed and whether the module has them."""
    confirmed = dict(asked())
    wrong = {n: v for n, v in confirmed.items() if abs(v / curve(n) - 1) > 1e-9}
    assert not wrong, f"Concrete's curve is another one: {wrong}"
    table = {dimension: curve(dimension) for dimension in dimensions()}
    print("VARIANCES: dict[int, float] = {")
    for dimension, variance in table.items():
        print(f"    {dimension}: {variance!r},")
    print("}")
    print("GLWE_SHAPES: tuple[tuple[int, int], ...] = (")
    for shape in SHAPES:
        print(f"    {shape},")
    print(")")
    there = sorted(set(confirmed) & set(table))
    print(f"# asked of Concrete: {there}")
    print(f"# the module has these tables: {table == VARIANCES and GLWE_SHAPES == SHAPES}")


if __name__ == "__main__":
    main()
