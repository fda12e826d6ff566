"""What a query costs, measured one way everywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from ..support.timing import timed

Said = TypeVar("Said")


@dataclass(frozen=True)
class QueryCosts:
    """What a query cost; None for a step that was not taken.

    Attributes:
        encrypt_seconds: of the client, from the features to the query.
        compute_seconds: of the server.
        decrypt_seconds: of the client, from the response to the answer.
        query_bytes: sent.
        response_bytes: received.
    """

    encrypt_seconds: float | None = None
    compute_seconds: float | None = None
    decrypt_seconds: float | None = None
    query_bytes: int | None = None
    response_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """All steps together."""
        steps = (self.encrypt_seconds, self.compute_seconds, self.decrypt_seconds)
        return sum(step for step in steps if step is not None)


def measure_query(
    encrypt: Callable[[], bytes],
    compute: Callable[[bytes], bytes],
    decrypt: Callable[[bytes], Said],
) -> tuple[Said, QueryCosts]:
    """Encrypt, compute and decrypt once.

    Args:
        encrypt: makes the query, such as ``lambda: client.encrypt_features(features)``.
        compute: the server, from the query to the response.
        decrypt: the client, from the response to what it says: an answer, logits, a number.

    Returns:
        What `decrypt` returned, and the costs: wall-clock seconds and bytes.
    """
    query, encrypt_seconds = timed(encrypt)
    response, compute_seconds = timed(lambda: compute(query))
    said, decrypt_seconds = timed(lambda: decrypt(response))
    costs = QueryCosts(encrypt_seconds, compute_seconds, decrypt_seconds, len(query), len(response))
    return said, costs


def median_costs(costs: Sequence[QueryCosts]) -> QueryCosts:
    """The median of every cost over some queries; None where no query has it."""

    def median(name: str) -> Any:  # int for bytes, float for seconds
        values = [value for one in costs if (value := getattr(one, name)) is not None]
        if not values:
            return None
        middle = float(np.median(values))
        return round(middle) if name.endswith("_bytes") else middle

    return QueryCosts(**{field.name: median(field.name) for field in fields(QueryCosts)})
