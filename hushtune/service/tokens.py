"""Bearer tokens: who asks. Only their SHA-256 is kept."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from hushtune.support.errors import ServiceError

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Tokens:
    """The clients of a tokens file, read again whenever it changes.

    Args:
        path: the file: a line ``name:sha256`` for each client; empty lines and ``#`` are skipped.

    Raises:
        ServiceError: it cannot be read, or a line is not of this form.
    """

    def __init__(self, path: Path):
        self.path = path
        self._read_at: tuple[int, int] | None = None
        self._clients: dict[str, str] = {}
        self._refresh()

    def client_of(self, token: str) -> str | None:
        """The name of the client whose token this is, taking the same time for all."""
        self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for name, expected in self._clients.items():
            if hmac.compare_digest(digest, expected):
                found = name
        return found

    def _refresh(self) -> None:
        try:
            stat = self.path.stat()
            if self._read_at == (stat.st_mtime_ns, stat.st_size):
                return
            text = self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceError(
                f"{self.path}: cannot be read as a tokens file ({error})."
            ) from error
        self._clients = _parse(self.path, text)
        self._read_at = (stat.st_mtime_ns, stat.st_size)


def add_token(path: Path, name: str) -> str:
    """Make a token for a client, note its SHA-256 in a tokens file, give the token.

    Raises:
        ServiceError: the name is taken or not allowed, or the file is not a tokens file.
    """
    if not NAME.fullmatch(name):
        raise ServiceError(
            f"name={name!r}: expected 1 to 64 letters, digits, dots, dashes or underscores."
        )
    text = path.read_text("utf-8") if path.exists() else ""
    if name in _parse(path, text):
        raise ServiceError(f"{path}: {name} has a token already. Remove its line to replace it.")
    token = secrets.token_urlsafe(32)
    line = f"{name}:{hashlib.sha256(token.encode()).hexdigest()}\n"
    if text and not text.endswith("\n"):
        line = "\n" + line
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        file.write(line)
    return token


def _parse(path: Path, text: str) -> dict[str, str]:
    clients: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, digest = line.partition(":")
        if not NAME.fullmatch(name) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ServiceError(
                f"{path}, line {number}: expected 'name:sha256 of the token' in hexadecimal. "
                "Make a line with 'hushtune token'."
            )
        if name in clients:
            raise ServiceError(f"{path}, line {number}: {name} is named twice.")
        clients[name] = digest
    return clients
