"""The client: the only side that holds the private key, the clip and the answer.

```
client = Client("artifact")
client.create_keys()
server.run(client.encrypt("clip.mp3"), client.evaluation_keys())  ->  response
client.decrypt(response).text
```
"""

import os
import secrets
import time
from os import PathLike
from pathlib import Path

import numpy as np
from concrete import fhe
from concrete.ml.deployment import FHEModelClient

from ..model.audio import read_clip
from ..support.errors import KeyFileError, ProtocolError
from .answer import Answer, answer_from_logits, answer_from_number
from .artifact import Artifact
from .ciphertexts import lengthen
from .envelope import Envelope
from .number import numbers_of

Clip = str | PathLike | tuple[np.ndarray, int]
"""A file's path, or (samples [n] or [n, channels], sample rate in Hz)."""


class Client:
    """Makes keys, encrypts clips, decrypts answers.

    Args:
        artifact: the artifact's folder; its client part is enough.

    Raises:
        ArtifactError: missing, changed, or made with other versions.
    """

    def __init__(self, artifact: str | PathLike):
        self.artifact = Artifact(artifact, ("client",))
        self._front_end = self.artifact.front_end()
        self._model = FHEModelClient(str(self.artifact.folder / "client"))
        self._key_id: bytes | None = None

    @property
    def key_id(self) -> bytes:
        """Random id of the key set, 16 bytes; not a secret.

        Raises:
            KeyFileError: no keys yet.
        """
        if self._key_id is None:
            raise KeyFileError("No keys yet: call create_keys() or load_keys(path) first.")
        return self._key_id

    def create_keys(self) -> None:
        """Make a fresh private key and the evaluation keys that belong to it (seconds)."""
        self._model.generate_private_and_evaluation_keys(force=True)
        self._key_id = secrets.token_bytes(16)

    def save_keys(self, path: str | PathLike) -> None:
        """Write all keys to a file that only this user can read (mode 0600), unencrypted.

        Args:
            path: of a file that does not exist yet; its folder is made.

        Raises:
            KeyFileError: the file exists, or cannot be written.
        """
        key_id = self.key_id
        payload = self._model.client.keys.serialize()
        data = Envelope(b"K", self.artifact.id, key_id, payload).pack()
        path = Path(path)
        partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise KeyFileError(f"{path}: exists already. Delete it or choose another name.")
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as f:
                f.write(data)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise KeyFileError(f"{path}: cannot be written ({error.strerror}).") from error

    def load_keys(self, path: str | PathLike) -> None:
        """Read keys written by `save_keys`.

        Args:
            path: of the file.

        Raises:
            KeyFileError: missing, damaged, or made for another artifact.
        """
        path = Path(path)
        try:
            envelope = Envelope.unpack(path.read_bytes(), b"K", self.artifact.id)
            keys = fhe.Keys.deserialize(envelope.payload)
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be read ({error.strerror}).") from error
        except (ProtocolError, RuntimeError) as error:
            raise KeyFileError(
                f"{path}: {error} Without a copy of the key file, delete it and make new keys."
            ) from error
        self._model.client.keys = keys
        self._key_id = envelope.key_id

    def evaluation_keys(self) -> bytes:
        """The keys the server computes with: they decrypt nothing. Upload them once."""
        key_id = self.key_id
        payload = self._model.get_serialized_evaluation_keys()
        return Envelope(b"E", self.artifact.id, key_id, payload).pack()

    def image(self, clip: Clip) -> tuple[np.ndarray, tuple[str, ...]]:
        """What would be encrypted: the clip's spectrum, and remarks on the clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).

        Returns:
            float32 [channels, bands, columns], and remarks for the user.

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
        """
        signal = self.artifact.config.signal
        wave, _ = read_clip(clip, signal.sample_rate_hz)
        seconds = len(wave) / signal.sample_rate_hz
        notes = ()
        if seconds < signal.crop_seconds - 0.5:
            notes = (
                f"clip of {seconds:.1f} s, shorter than the {signal.crop_seconds:g} s the network "
                "was trained on: less certain",
            )
        return self._front_end.query_features(wave), notes

    def encrypt(self, clip: Clip) -> bytes:
        """The encrypted query of a clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
            KeyFileError: no keys yet.
        """
        return self.encrypt_image(self.image(clip)[0])

    def encrypt_image(self, image: np.ndarray) -> bytes:
        """The encrypted query of a spectrum.

        Args:
            image: from `image`, float [channels, bands, columns].

        Raises:
            KeyFileError: no keys yet.
        """
        key_id = self.key_id
        payload = self._model.quantize_encrypt_serialize(image[None].astype(np.float32))
        return Envelope(b"Q", self.artifact.id, key_id, payload).pack()

    def decrypt(self, response: bytes, *, top: int = 3, notes: tuple[str, ...] = ()) -> Answer:
        """The answer in a server's response.

        Args:
            response: what `Server.run` returned.
            top: how many matches to give.
            notes: remarks to pass on.

        Raises:
            ProtocolError: damaged, or made with another artifact's or client's keys.
        """
        started = time.perf_counter()
        if self.artifact.number is None:
            answer = self.answer(self.decrypt_logits(response), top=top, notes=notes)
        else:
            number = self.decrypt_number(response)
            answer = answer_from_number(number, self.artifact.songs, notes=notes)
        return answer.with_costs(
            decrypt_seconds=time.perf_counter() - started, response_bytes=len(response)
        )

    def answer(self, logits: np.ndarray, *, top: int = 3, notes: tuple[str, ...] = ()) -> Answer:
        """The answer that logits stand for.

        Args:
            logits: float [songs + 1], the last one for "unknown".
            top: how many matches to give.
            notes: remarks to pass on.
        """
        artifact = self.artifact
        if artifact.number is not None:
            number = int(artifact.number.numbers(logits[None])[0])
            return answer_from_number(number, artifact.songs, notes=notes)
        return answer_from_logits(logits, artifact.songs, artifact.decision, top=top, notes=notes)

    def decrypt_logits(self, response: bytes) -> np.ndarray:
        """The logits in a server's response: float [songs + 1].

        Args:
            response: what `Server.run` returned.

        Raises:
            ProtocolError: damaged, made with other keys, or a number.
        """
        if self.artifact.number is not None:
            raise ProtocolError("response: holds no logits: this artifact answers with a number.")
        logits = self._model.model.dequantize_output(self._decrypt(response))
        return np.asarray(logits).reshape(-1)

    def decrypt_number(self, response: bytes) -> int:
        """The song's number in a server's response: 1 for the first song, 0 for "unknown".

        Args:
            response: what `Server.run` returned.

        Raises:
            ProtocolError: damaged, made with other keys, or logits.
        """
        if self.artifact.number is None:
            raise ProtocolError("response: holds no number: this artifact answers with logits.")
        return int(numbers_of(self._decrypt(response).reshape(1, -1))[0])

    def _decrypt(self, response: bytes) -> np.ndarray:
        """The integers in a server's response."""
        envelope = Envelope.unpack(response, b"R", self.artifact.id)
        if envelope.key_id != self.key_id:
            raise ProtocolError(
                "response: computed with another client's keys. Load the key file with which the "
                "query was encrypted."
            )
        message = lengthen(envelope.payload, self.artifact.config.fhe.response_bits)
        try:
            return np.asarray(self._model.deserialize_decrypt(message))
        except RuntimeError as error:
            raise ProtocolError(f"response: cannot be read ({error}).") from error
