"""The server: computes on ciphertexts with evaluation keys. It never holds anything else."""

from os import PathLike
from pathlib import Path

from ..support.errors import ProtocolError
from .artifact import Artifact
from .ciphertexts import truncate, words_of
from .circuit import LINEAR, Circuit
from .envelope import Envelope


class EvaluationKeys:
    """A client's evaluation keys, ready to compute with; made by `Server.load_keys`.

    Args:
        key_id: of the client's key set, 16 bytes.
        keys: as the circuit reads them.
    """

    def __init__(self, key_id: bytes, keys: object):
        self.key_id = key_id
        self.keys = keys


class Server:
    """Runs the compiled circuit on encrypted queries.

    Args:
        artifact: the artifact's folder; its server part is enough. Its circuit is code that is
            executed: open only artifacts whose maker you trust.

    Raises:
        ArtifactError: missing, changed, or made with other versions.
    """

    def __init__(self, artifact: str | PathLike[str]):
        self.artifact = Artifact(Path(artifact), ("server",))
        manifest = self.artifact.manifest
        linear = f"server/{LINEAR}" in manifest.files
        folder = self.artifact.folder / "server"
        self._circuit = Circuit(folder, manifest.encryption, linear=linear)

    def load_keys(self, evaluation_keys: bytes) -> EvaluationKeys:
        """Open a client's evaluation keys once, for many queries.

        Args:
            evaluation_keys: from `Client.evaluation_keys`.

        Raises:
            ProtocolError: damaged, or made for another artifact.
        """
        envelope = Envelope.unpack(evaluation_keys, b"E", self.artifact.id)
        return EvaluationKeys(envelope.key_id, self._circuit.load_keys(envelope.payload))

    def run(self, query: bytes, evaluation_keys: bytes | EvaluationKeys | None = None) -> bytes:
        """Compute the encrypted answer to an encrypted query.

        Args:
            query: from `Client.encrypt`.
            evaluation_keys: from `Client.evaluation_keys` or `load_keys`; not needed, and not
                looked at, where the circuit has no PBS.

        Returns:
            The response, for `Client.decrypt`.

        Raises:
            ProtocolError: damaged, or query and keys do not belong together.
        """
        envelope = Envelope.unpack(query, b"Q", self.artifact.id)
        keys = None
        if self._circuit.needs_keys:
            if evaluation_keys is None:
                raise ProtocolError("evaluation keys: none given, and this circuit needs them.")
            if isinstance(evaluation_keys, bytes):
                evaluation_keys = self.load_keys(evaluation_keys)
            if envelope.key_id != evaluation_keys.key_id:
                raise ProtocolError(
                    "query: encrypted with other keys than the evaluation keys given. Upload the "
                    "evaluation keys of the client that made the query."
                )
            keys = evaluation_keys.keys
        encryption = self.artifact.manifest.encryption
        words = words_of(envelope.payload, encryption.query_words, kind="query")
        out = self._circuit.run(words, keys)
        payload = truncate(out, self.artifact.config.fhe.response_bits)
        return Envelope(b"R", self.artifact.id, envelope.key_id, payload).pack()
