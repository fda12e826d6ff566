"""Run a function over many items on all cores, with progress, in order."""

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor

from .progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, title: str, workers: int = 0
) -> list[Result]:
    """Apply `function` to every item in worker processes; results in the items' order.

    Args:
        function: must be picklable.
        items: must be picklable.
        title: shown beside the bar.
        workers: processes; 0 for one a core.
    """
    items = list(items)
    workers = min(workers or cpu_count(), max(1, len(items)))
    results: list[Result] = []
    stream: Iterable[Result]
    with progress_bar() as bar, warnings.catch_warnings():
        # joblib replaces a worker that has grown, and says so
        warnings.filterwarnings("ignore", message="A worker stopped", category=UserWarning)
        task = bar.add_task(title, total=len(items), note="")
        if workers == 1:
            stream = map(function, items)
        else:
            pool = Parallel(n_jobs=workers, return_as="generator", batch_size=1)
            stream = pool(delayed(_single_threaded)(function, item) for item in items)
        for result in stream:
            results.append(result)
            bar.advance(task)
    return results


def release_workers() -> None:
    """End the worker processes, which wait for more work and keep their memory."""
    get_reusable_executor().shutdown(wait=True)


def _single_threaded(function: Callable[[Item], Result], item: Item) -> Result:
    """One torch thread a process, so that processes do not fight for cores."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return function(item)
