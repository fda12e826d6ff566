"""Matrix products in blocks of inputs, where Concrete's code computes them: before look-ups.

It computes ``x @ W`` output by output and reads all encrypted inputs anew for each. 1,536 of
them take 15 MB, more than a core's cache holds; 192 take 2 MB. The partial products add up to the
very same ciphertexts' values, in fewer seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from concrete.fhe.tracing import Tracer

INPUTS = 192
"""Of a block."""


@contextmanager
def blocked_products() -> Iterator[None]:
    """Within, Concrete traces products of an encrypted and a clear matrix in blocks."""
    product = Tracer.__matmul__

    def in_blocks(values: Tracer, weights):
        if not isinstance(weights, np.ndarray) or values.ndim != 2:
            return product(values, weights)
        first, *others = [
            product(values[:, start : start + INPUTS], weights[start : start + INPUTS])
            for start in range(0, len(weights), INPUTS)
        ]
        return sum(others, start=first)

    with patch.object(Tracer, "__matmul__", in_blocks):
        yield
