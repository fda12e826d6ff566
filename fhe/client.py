"""The client: the only side that holds the private key, the clip and the answer.

```
client = Client("artifact")
client.create_keys()
server.run(client.encrypt("clip.mp3"), client.evaluation_keys())  ->  response
client.decrypt(response).text
```

Where a circuit has no PBS, the server needs no keys, and every query gets a key of its own
(`Client.fresh_keys`): nothing links two queries, and no answer that leaks says anything about
another.
"""

import secrets
import threading
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.audio import read_clip
from ..support.errors import KeyFileError, ProtocolError
from ..support.files import create_exclusively
from .answer import Answer, Heard
from .artifact import Artifact
from .ciphertexts import restore, truncated_bytes
from .envelope import HEADER_BYTES, Envelope
from .heads import NOTHING, Logits, NumberHead
from .schemes.concrete import ConcreteClient, Integers, Keys

Clip = str | PathLike[str] | tuple[NDArray[np.floating[Any]], int]
"""A file's path, or (samples [n] or [n, channels], sample rate in Hz)."""
KEY_ID_BYTES = 16
MOST_PENDING = 256
"""Keys of queries without a response yet; beyond that the oldest are forgotten."""


class Client:
    """Makes keys, encrypts clips, decrypts answers.

    Args:
        artifact: the artifact's folder; its client part is enough.

    Raises:
        ArtifactError: missing, changed, made with other versions, or with encryption parameters
            that are not on Hushtune's list.
    """

    def __init__(self, artifact: str | PathLike[str]):
        self.artifact = Artifact(Path(artifact), ("client",))
        self._front_end = self.artifact.front_end()
        self._scheme = ConcreteClient(self.artifact.manifest.encryption)
        self._keys: Keys | None = None
        self._key_id: bytes | None = None
        self._pending: OrderedDict[bytes, tuple[Keys, Heard]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def fresh_keys(self) -> bool:
        """Whether every query gets a key of its own, because the server needs none."""
        return not self.artifact.manifest.encryption.has_evaluation_keys

    @property
    def response_bytes(self) -> int:
        """How long every response is."""
        words = self.artifact.manifest.encryption.response_words
        bits = self.artifact.config.fhe.response_bits
        return HEADER_BYTES + truncated_bytes(words, bits)

    @property
    def key_id(self) -> bytes:
        """Random id of the key set, 16 bytes; not a secret.

        Raises:
            KeyFileError: no keys yet.
        """
        return self._kept()[0]

    def create_keys(self) -> None:
        """Make a fresh private key and the evaluation keys that belong to it (seconds)."""
        self._keys, self._key_id = self._scheme.create_keys(), secrets.token_bytes(KEY_ID_BYTES)

    def save_keys(self, path: str | PathLike[str]) -> None:
        """Write all keys to a file that only this user can read (mode 0600), unencrypted.

        Args:
            path: of a file that does not exist yet; its folder is made.

        Raises:
            KeyFileError: the file exists, or cannot be written.
        """
        key_id, keys = self._kept()
        data = Envelope(b"K", self.artifact.id, key_id, keys.serialize()).pack()
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            create_exclusively(path, data)
        except FileExistsError as error:
            raise KeyFileError(
                f"{path}: exists already. Delete it or choose another name."
            ) from error
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be written ({error.strerror}).") from error

    def load_keys(self, path: str | PathLike[str]) -> None:
        """Read keys written by `save_keys`.

        Args:
            path: of the file.

        Raises:
            KeyFileError: missing, damaged, or made for another artifact.
        """
        path = Path(path)
        try:
            envelope = Envelope.unpack(path.read_bytes(), b"K", self.artifact.id)
            keys = Keys.deserialize(envelope.payload)
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be read ({error.strerror}).") from error
        except (ProtocolError, KeyFileError) as error:
            raise KeyFileError(
                f"{path}: {error} Without a copy of the key file, delete it and make new keys."
            ) from error
        self._keys, self._key_id = keys, envelope.key_id

    def evaluation_keys(self) -> bytes:
        """The keys the server computes with: they decrypt nothing. Upload them once."""
        key_id, keys = self._kept()
        return Envelope(b"E", self.artifact.id, key_id, keys.evaluation_keys()).pack()

    def features(self, clip: Clip) -> tuple[NDArray[np.float32], Heard]:
        """What would be encrypted: the clip's features, and what was read of the clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).

        Returns:
            float32 [channels, bands, columns], and the clip's length and remarks for the user.

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
        """
        signal = self.artifact.config.signal
        wave, _ = read_clip(clip, signal.sample_rate_hz)
        seconds = len(wave) / signal.sample_rate_hz
        notes: tuple[str, ...] = ()
        if seconds < signal.crop_seconds - 0.5:
            notes = (
                f"clip of {seconds:.1f} s, shorter than the {signal.crop_seconds:g} s the network "
                "was trained on: less certain",
            )
        return self._front_end.query_features(wave), Heard(seconds, notes)

    def encrypt(self, clip: Clip) -> bytes:
        """The encrypted query of a clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
            KeyFileError: no keys yet.
        """
        features, heard = self.features(clip)
        return self.encrypt_features(features, heard)

    def encrypt_features(self, features: NDArray[np.float32], heard: Heard = NOTHING) -> bytes:
        """The encrypted query of features.

        Args:
            features: from `features`, float [channels, bands, columns].
            heard: of the clip; remembered for the response where every query has a key of its own.

        Raises:
            KeyFileError: no keys yet.
            ProtocolError: features that do not fit the artifact.
        """
        key_id, keys = self._fresh(heard) if self.fresh_keys else self._kept()
        values = self.artifact.manifest.input_quantizer.quantize(features[None])
        payload = self._scheme.encrypt(keys, values).tobytes()
        return Envelope(b"Q", self.artifact.id, key_id, payload).pack()

    def decrypt(self, response: bytes, *, top: int = 3, heard: Heard | None = None) -> Answer:
        """The answer in a server's response.

        Args:
            response: what `Server.run` returned.
            top: how many matches to give.
            heard: of the clip, as `features` gave it; where None, what `encrypt` remembered.

        Raises:
            ProtocolError: damaged, or made with another artifact's or client's keys.
        """
        values, remembered = self._integers(response)
        heard = remembered if heard is None else heard
        return self.artifact.head.answer(values, top=top, heard=heard)

    def answer(self, logits: Logits, *, top: int = 3, heard: Heard = NOTHING) -> Answer:
        """The answer that logits stand for.

        Args:
            logits: float [rows + 1], the last one for "unknown".
            top: how many matches to give.
            heard: of the clip.
        """
        return self.artifact.head.answer_of_logits(logits, top=top, heard=heard)

    def decrypt_values(self, response: bytes) -> Logits | int:
        """What a server's response says: logits, float [rows + 1], or a song's number.

        Args:
            response: what `Server.run` returned.

        Raises:
            ProtocolError: damaged, or made with other keys.
        """
        return self.artifact.head.read(self._integers(response)[0])

    def decrypt_logits(self, response: bytes) -> Logits:
        """The logits in a server's response: float [rows + 1], "unknown" last.

        Args:
            response: what `Server.run` returned.

        Raises:
            ProtocolError: damaged, made with other keys, or a number.
        """
        said = self.decrypt_values(response)
        if isinstance(said, int):
            raise ProtocolError("response: holds no logits: this artifact answers with a number.")
        return said

    def decrypt_number(self, response: bytes) -> int:
        """The song's number in a server's response: 1 for the first song, 0 for "unknown".

        Args:
            response: what `Server.run` returned.

        Raises:
            ProtocolError: damaged, made with other keys, or logits.
        """
        if not isinstance(self.artifact.head, NumberHead):
            raise ProtocolError("response: holds no number: this artifact answers with logits.")
        return self.artifact.head.read(self._integers(response)[0])

    def _integers(self, response: bytes) -> tuple[Integers, Heard]:
        """The integers in a server's response, and what is remembered of the clip.

        The key of a single query is forgotten with it.
        """
        envelope = Envelope.unpack(response, b"R", self.artifact.id)
        encryption, bits = self.artifact.manifest.encryption, self.artifact.config.fhe.response_bits
        words = restore(envelope.payload, encryption.response_words, bits)
        keys, heard = self._keys_of(envelope.key_id)
        values = self._scheme.decrypt(keys, words)
        with self._lock:
            self._pending.pop(envelope.key_id, None)
        return values, heard

    def _kept(self) -> tuple[bytes, Keys]:
        if self._key_id is None or self._keys is None:
            raise KeyFileError("No keys yet: call create_keys() or load_keys(path) first.")
        return self._key_id, self._keys

    def _fresh(self, heard: Heard) -> tuple[bytes, Keys]:
        """Keys for one query, kept until its response is decrypted."""
        key_id, keys = secrets.token_bytes(KEY_ID_BYTES), self._scheme.create_keys()
        with self._lock:
            self._pending[key_id] = keys, heard
            while len(self._pending) > MOST_PENDING:
                self._pending.popitem(last=False)
        return key_id, keys

    def _keys_of(self, key_id: bytes) -> tuple[Keys, Heard]:
        with self._lock:
            if key_id in self._pending:
                return self._pending[key_id]
        if self._keys is not None and key_id == self._key_id:
            return self._keys, NOTHING
        raise ProtocolError(
            "response: computed with another client's keys, or answered long ago. Load the key "
            "file with which the query was encrypted."
        )
