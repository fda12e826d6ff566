"""A client of a Hushtune service.

```
client.py      a clip in, an answer out
part.py        the client part of the artifact: fetched once, checked before it is trusted
transport.py   requests, retries, and what the service says when it refuses
```
"""

from hushtune.client.remote import AsyncRemoteClient, Listener, Progress, RemoteClient

__all__ = ["AsyncRemoteClient", "Listener", "Progress", "RemoteClient"]
