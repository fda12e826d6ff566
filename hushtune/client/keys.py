"""Keys of circuits that need evaluation keys: a set for one service and artifact, renewed in time.

A key set has an id, which links the queries made with it. So one set is never used at two services,
and it is replaced after a number of queries and days. (Circuits without evaluation keys take a
fresh key for every query and need nothing of this.)

Beside the key file lies its record (``.json``), and a lock (``.lock``) that lets one process at a
time read and change both.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from hushtune.client.answers import DAY_SECONDS, Id
from hushtune.support import strict_json
from hushtune.support.errors import KeyFileError
from hushtune.support.files import replacing

if TYPE_CHECKING:
    from hushtune.fhe.client import Client


@dataclass(frozen=True)
class Renewal:
    """When a key set is replaced.

    Attributes:
        queries: after so many queries.
        days: after so many days.
    """

    queries: int = 200
    days: float = 7.0


class KeyRecord(BaseModel):
    """What became of a key set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    artifact: str
    key_id: str
    created: float
    queries: int = 0
    upload: Id | None = None
    """Its id at the service, once its evaluation keys are there."""
    retired: tuple[Id, ...] = ()
    """Ids of former sets that the service may still hold."""


class ServiceKeys:
    """The key set for one service and artifact, shared by all processes of this user.

    Args:
        path: of the key file.
        service: address of the service.
        artifact: id of the artifact, 32 bytes.
        renewal: when the set is replaced.
    """

    def __init__(self, path: Path, service: str, artifact: bytes, renewal: Renewal):
        self.path, self._service, self._artifact = path, service, artifact.hex()
        self._renewal = renewal
        self.record_path = path.with_name(f"{path.name}.json")

    @staticmethod
    def default_path(folder: Path, service: str, artifact: bytes) -> Path:
        """Where the keys for a service and an artifact are kept in a data folder."""
        name = hashlib.sha256(service.encode() + b"\0" + artifact).hexdigest()[:32]
        return folder / "keys" / "services" / f"{name}.keys"

    def take(
        self, current: "Client | None", new_client: Callable[[], "Client"], *, queries: int
    ) -> tuple["Client", KeyRecord]:
        """The client to ask with now: with the keys on file, or with new ones where these are due.

        Args:
            current: a client that may hold the keys already.
            new_client: makes a client without keys.
            queries: how many will be made; 0 to look only.

        Raises:
            KeyFileError: the files cannot be read or written, or the keys are another service's.
        """
        with self._locked():
            record = self._read()
            if record is None or not self.path.exists() or self._due(record):
                if record is None and self.path.exists():  # made by somebody else: use it
                    client, record = self._load(new_client, time.time(), ())
                else:
                    client, record = self._renew(new_client, record)
            elif current is not None and current.key_id.hex() == record.key_id:
                client = current
            else:
                client, found = self._load(new_client, record.created, record.retired)
                if found.key_id != record.key_id:  # the file was replaced by hand
                    record = found.model_copy(update={"retired": _all_uploads(record)})
            record = record.model_copy(update={"queries": record.queries + queries})
            self._write(record)
            return client, record

    def note_upload(self, key_id: bytes, upload: str) -> None:
        """Keep the id under which the service holds the evaluation keys."""
        with self._locked():
            record = self._read()
            if record is None:
                return
            if record.key_id != key_id.hex():  # renewed by another process meanwhile
                changes: dict[str, object] = {"retired": (*record.retired, upload)}
            elif record.upload not in (None, upload):  # another process was faster
                changes = {"upload": upload, "retired": _all_uploads(record)}
            else:
                changes = {"upload": upload}
            self._write(record.model_copy(update=changes))

    def note_gone(self, *uploads: str) -> None:
        """Forget ids that the service no longer holds."""
        with self._locked():
            record = self._read()
            if record is None:
                return
            self._write(
                record.model_copy(
                    update={
                        "upload": None if record.upload in uploads else record.upload,
                        "retired": tuple(old for old in record.retired if old not in uploads),
                    }
                )
            )

    def uploads(self) -> tuple[str, ...]:
        """All ids under which the service may hold keys of this user."""
        with self._locked():
            record = self._read()
        return () if record is None else _all_uploads(record)

    def _due(self, record: KeyRecord) -> bool:
        age = time.time() - record.created
        return (
            record.queries >= self._renewal.queries
            or not 0 <= age <= self._renewal.days * DAY_SECONDS
        )

    def _renew(
        self, new_client: Callable[[], "Client"], old: KeyRecord | None
    ) -> tuple["Client", KeyRecord]:
        client = new_client()
        client.create_keys()
        self.path.unlink(missing_ok=True)
        client.save_keys(self.path)
        retired = () if old is None else _all_uploads(old)
        return client, self._new_record(client, time.time(), retired)

    def _load(
        self, new_client: Callable[[], "Client"], created: float, retired: tuple[str, ...]
    ) -> tuple["Client", KeyRecord]:
        client = new_client()
        client.load_keys(self.path)
        return client, self._new_record(client, created, retired)

    def _new_record(self, client: "Client", created: float, retired: tuple[str, ...]) -> KeyRecord:
        return KeyRecord(
            service=self._service,
            artifact=self._artifact,
            key_id=client.key_id.hex(),
            created=created,
            retired=retired,
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyFileError(f"{self.path}: cannot be written ({error.strerror}).") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> KeyRecord | None:
        try:
            record = KeyRecord.model_validate(strict_json.loads(self.record_path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError) as error:
            raise KeyFileError(
                f"{self.record_path}: damaged. Delete it and {self.path}; new keys will be made."
            ) from error
        if (record.service, record.artifact) != (self._service, self._artifact):
            raise KeyFileError(
                f"{self.path}: its keys were used at {record.service} with artifact "
                f"{record.artifact[:16]}. Used elsewhere, too, they would tell that both users are "
                "one: choose another key file."
            )
        return record

    def _write(self, record: KeyRecord) -> None:
        data = json.dumps(record.model_dump(mode="json")).encode()
        try:
            with replacing(self.record_path) as partial:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
                    file.write(data)
        except OSError as error:
            raise KeyFileError(
                f"{self.record_path}: cannot be written ({error.strerror})."
            ) from error


def _all_uploads(record: KeyRecord) -> tuple[str, ...]:
    return (*record.retired, *([record.upload] if record.upload else []))
