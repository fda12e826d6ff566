"""What Concrete's optimizer may choose from, when a circuit is compiled."""

from collections.abc import Iterable

from mlir._mlir_libs._concretelang._compiler import RangeRestriction

from ..parameters import GLWE_SHAPES, VARIANCES


def listed_ranges() -> RangeRestriction:
    """The dimensions of Hushtune's list."""
    return restriction(
        (dimension for dimension in VARIANCES if dimension < min(_large())),
        sorted({size.bit_length() - 1 for _, size in GLWE_SHAPES}),
        sorted({dimension for dimension, _ in GLWE_SHAPES}),
    )


def restriction(
    lwe: Iterable[int], glwe_logs: Iterable[int], glwe: Iterable[int]
) -> RangeRestriction:
    """A restriction of Concrete's optimizer.

    Args:
        lwe: dimensions of LWE keys.
        glwe_logs: base-2 logarithms of polynomial sizes.
        glwe: dimensions of GLWE keys.
    """
    ranges = RangeRestriction()
    for dimension in lwe:
        ranges.add_available_internal_lwe_dimension(dimension)
    for log in glwe_logs:
        ranges.add_available_glwe_log_polynomial_size(log)
    for dimension in glwe:
        ranges.add_available_glwe_dimension(dimension)
    return ranges


def _large() -> list[int]:
    """Dimensions that only GLWE keys have."""
    return [dimension for dimension in VARIANCES if dimension >= 2048]
