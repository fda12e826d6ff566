"""The server: computes on ciphertexts with evaluation keys. It never holds anything else."""

from os import PathLike

from concrete import fhe

from ..support.errors import ProtocolError
from .artifact import Artifact
from .ciphertexts import shorten
from .circuit import Circuit, has_matrix
from .envelope import Envelope


class EvaluationKeys:
    """A client's evaluation keys, ready to compute with; made by `Server.load_keys`.

    Args:
        key_id: of the client's key set, 16 bytes.
        keys: as Concrete reads them.
    """

    def __init__(self, key_id: bytes, keys: fhe.EvaluationKeys):
        self.key_id = key_id
        self.keys = keys


class Server:
    """Runs the compiled circuit on encrypted queries.

    Args:
        artifact: the artifact's folder; its server part is enough.

    Raises:
        ArtifactError: missing, changed, or made with other versions.
    """

    def __init__(self, artifact: str | PathLike):
        self.artifact = Artifact(artifact, ("server",))
        linear = has_matrix(self.artifact.manifest)
        self._circuit = Circuit(self.artifact.folder / "server", linear=linear)

    def load_keys(self, evaluation_keys: bytes) -> EvaluationKeys:
        """Open a client's evaluation keys once, for many queries.

        Args:
            evaluation_keys: from `Client.evaluation_keys`.

        Raises:
            ProtocolError: damaged, or made for another artifact.
        """
        envelope = Envelope.unpack(evaluation_keys, b"E", self.artifact.id)
        try:
            keys = fhe.EvaluationKeys.deserialize(envelope.payload)
        except RuntimeError as error:
            raise ProtocolError(f"evaluation keys: cannot be read ({error}).") from error
        return EvaluationKeys(envelope.key_id, keys)

    def run(self, query: bytes, evaluation_keys: bytes | EvaluationKeys) -> bytes:
        """Compute the encrypted logits of an encrypted query.

        Args:
            query: from `Client.encrypt`.
            evaluation_keys: from `Client.evaluation_keys` or `load_keys`.

        Returns:
            The response, for `Client.decrypt`.

        Raises:
            ProtocolError: damaged, or query and keys do not belong together.
        """
        if isinstance(evaluation_keys, bytes):
            evaluation_keys = self.load_keys(evaluation_keys)
        envelope = Envelope.unpack(query, b"Q", self.artifact.id)
        if envelope.key_id != evaluation_keys.key_id:
            raise ProtocolError(
                "query: encrypted with other keys than the evaluation keys given. Upload the "
                "evaluation keys of the client that made the query."
            )
        message = self._circuit.run(envelope.payload, evaluation_keys.keys)
        payload = shorten(message, self.artifact.config.fhe.response_bits)
        return Envelope(b"R", self.artifact.id, envelope.key_id, payload).pack()
