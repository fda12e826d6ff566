"""Both sides of each module's own artifact."""

import pytest

from hushtune.fhe.client import Client
from hushtune.fhe.server import Server


@pytest.fixture(scope="module")
def sides(artifact):
    """Client, server, and the client's evaluation keys opened by the server."""
    client, server = Client(artifact), Server(artifact)
    client.create_keys()
    return client, server, server.load_keys(client.evaluation_keys())
