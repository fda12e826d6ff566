"""What an identification tells of itself while it is under way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Step = Literal[
    "preparing", "encrypting", "sending", "waiting", "computing", "receiving", "decrypting", "done"
]


@dataclass(frozen=True)
class Progress:
    """Where an identification stands.

    Attributes:
        step: what is being done; ``preparing`` is fetching the client part, and making and
            uploading keys where the circuit needs them.
        position: of the query in the service's queue: 1 is next, 0 once it runs.
        seconds: the service has computed.
        expected_seconds: it says a query takes.
        sent_bytes: of the keys while preparing, then of the query.
        received_bytes: of the response.
        query: the encrypted query itself, once, while it is sent.
    """

    step: Step
    position: int = 0
    seconds: float = 0.0
    expected_seconds: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    query: bytes = b""


Listener = Callable[[Progress], None]
