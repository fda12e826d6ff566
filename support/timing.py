"""Timing a call."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """What a function returns, and the wall-clock seconds it took."""
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started
