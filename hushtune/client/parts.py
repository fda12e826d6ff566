"""Client parts of artifacts: fetched once, kept by the artifact's id, checked whenever opened."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from hushtune.client.transport import Transport
from hushtune.support.errors import ArtifactError

if TYPE_CHECKING:
    from hushtune.fhe.client import Client


class Parts:
    """The client parts that were fetched from a service.

    Args:
        folder: of the cache.
        transport: to the service.
        signer: public key that must have signed an artifact, 64 hexadecimal digits; None for
            anybody or nobody.
    """

    def __init__(self, folder: Path, transport: Transport, signer: str | None):
        self._folder, self._transport, self._signer = folder, transport, signer

    async def fetch(self, artifact: str) -> None:
        """Fetch a client part that is not here yet.

        Args:
            artifact: its id, 64 hexadecimal digits.

        Raises:
            ServiceError: the service cannot be reached, or refuses.
            ArtifactError: what it sent is damaged, another artifact's, or not to be trusted.
        """
        if self._is_here(artifact):
            return
        from hushtune.client.part import LARGEST_BYTES, keep_part

        reply = await self._transport.request("GET", "/v1/client-part", limit=LARGEST_BYTES)
        url = self._transport.url
        await asyncio.to_thread(keep_part, reply.body, artifact, self._folder, url)

    def _is_here(self, artifact: str) -> bool:
        """Whether the cache has the part, with a signature that is right where one is demanded.

        (Another service may have sent the same artifact unsigned, or with a wrong signature.)
        """
        if not (self._folder / artifact / "manifest.json").is_file():
            return False
        if self._signer is None:
            return True
        from hushtune.fhe import signing

        try:
            content = (self._folder / artifact / signing.NAME).read_bytes()
            signing.verify_bytes(bytes.fromhex(artifact), content, self._signer)
        except (OSError, ArtifactError):
            return False
        return True

    def open(self, artifact: str) -> "Client":
        """A client without keys of an artifact whose part was fetched.

        Args:
            artifact: its id, 64 hexadecimal digits.

        Raises:
            ArtifactError: unsigned or signed by somebody else where a signer is demanded; changed;
                made with other versions; or with encryption parameters that are not listed.
        """
        from hushtune.fhe import signing
        from hushtune.fhe.client import Client

        folder, url = self._folder / artifact, self._transport.url
        if self._signer:
            try:
                content = (folder / signing.NAME).read_bytes()
            except OSError as error:
                raise ArtifactError(
                    f"{url}: its artifact is unsigned, but {self._signer} was demanded as its "
                    "signer. Do not use it unless you trust the service."
                ) from error
            signing.verify_bytes(bytes.fromhex(artifact), content, self._signer, what=url)
        client = Client(folder)
        if client.artifact.id.hex() != artifact:
            raise ArtifactError(f"{folder}: not of artifact {artifact[:16]}. Delete this folder.")
        return client
