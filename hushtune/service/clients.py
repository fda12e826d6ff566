"""Who asks: what a client may see, and what its share of the service is counted by."""

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_SECRET = secrets.token_bytes(32)
"""Made anew by every server process, so that records of addresses say nothing without it."""


def network_of(host: str) -> str:
    """The address of one client: IPv4 as it is, of IPv6 the first 64 bits, which one client has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


@dataclass(frozen=True)
class Client:
    """Whoever asks.

    Attributes:
        owner: name of the client's token, or "" where there are none; it sees nothing of others.
        share: what limits are counted by: the same name, or a word for the address that cannot be
            turned back.
    """

    owner: str
    share: str

    @classmethod
    def named(cls, owner: str) -> "Client":
        """A client with a token."""
        return cls(owner, owner)

    @classmethod
    def at(cls, host: str) -> "Client":
        """A client without one."""
        digest = hashlib.blake2b(network_of(host).encode(), key=_SECRET, digest_size=16)
        return cls("", "@" + digest.hexdigest())


class Proxies:
    """The reverse proxies whose word on a client's address counts.

    Args:
        addresses: addresses and networks, with commas between them.
    """

    def __init__(self, addresses: str):
        self.addresses = [part.strip() for part in addresses.split(",") if part.strip()]
        self._trusted = ProxyHeadersMiddleware(_nothing, self.addresses).trusted_hosts

    def __contains__(self, host: str) -> bool:
        return host in self._trusted


async def _nothing(*_: object) -> None:
    """No application: only the middleware's list is wanted."""
