"""The socket a server listens on."""

import socket

from hushtune.support.errors import ServiceError


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already; they wait until a server accepts them.

    Args:
        host: address or name of this machine.
        port: 0 for any free one.

    Raises:
        ServiceError: the address is not this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        raise ServiceError(
            f"host={host}, port={port}: cannot listen there ({error.strerror}). Choose another "
            "port with --port, or stop what listens there."
        ) from error
    return listening
