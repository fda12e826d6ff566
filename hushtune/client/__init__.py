"""A client of a Hushtune service.

```
remote.py      a clip in, an answer out (asyncio)        blocking.py   the same without asyncio
part.py        the client part of the artifact: fetched once, checked before it is trusted
keys.py        keys for circuits that need evaluation keys: kept, counted, renewed
transport.py   requests, limits, retries                 answers.py    what a service answers
address.py     addresses and tokens                      progress.py   what is told on the way
```
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hushtune.client.answers import ServiceInfo as ServiceInfo
    from hushtune.client.blocking import RemoteClient as RemoteClient
    from hushtune.client.progress import Listener as Listener
    from hushtune.client.progress import Progress as Progress
    from hushtune.client.remote import AsyncRemoteClient as AsyncRemoteClient

# loaded when first used: an address is checked without them
_PUBLIC = {
    "AsyncRemoteClient": "remote",
    "Listener": "progress",
    "Progress": "progress",
    "RemoteClient": "blocking",
    "ServiceInfo": "answers",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(f"hushtune.client.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'hushtune.client' has no attribute {name!r}")
