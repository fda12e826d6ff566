"""Addresses, tokens and signers as a user gives them, checked before anything heavy is loaded."""

import ipaddress
import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from hushtune.support.errors import ServiceError

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """Where a service is.

    Attributes:
        url: in one spelling: lower case, no default port, no slash at the end.
        loopback: whether it is on this machine, so that nobody is on the way.
        encrypted: whether the way to it is encrypted (https).
    """

    url: str
    loopback: bool
    encrypted: bool

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read an address such as ``http://127.0.0.1:8714``.

        Raises:
            ServiceError: not one, or one with a user, a query or a fragment.
        """
        example = "Expected one like http://127.0.0.1:8714"
        if not text.isprintable() or " " in text:  # which urlsplit partly passes over
            raise ServiceError(f"{text!r}: not an address. {example}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ServiceError(f"{text}: not an address ({error}). {example}") from error
        if parts.scheme not in DEFAULT_PORTS or not host or not re.fullmatch(r"[\w.:%-]+", host):
            raise ServiceError(f"{text}: not an address. {example}")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ServiceError(
                f"{host}: not an address of a service: it has a user, a query or a fragment. "
                f"{example}, and give a token as --token or token=."
            )
        shown = f"[{host}]" if ":" in host else host
        if port is not None and port != DEFAULT_PORTS[parts.scheme]:
            shown += f":{port}"
        url = f"{parts.scheme}://{shown}{parts.path.rstrip('/')}"
        return cls(url, _is_loopback(host), parts.scheme == "https")


def check_token(token: str, address: Address, *, insecure_http: bool) -> str:
    """A token without the blanks around it, if it may be sent to this address.

    Args:
        token: the line that ``hushtune token`` printed.
        address: of the service.
        insecure_http: whether it may be sent unencrypted to another machine.

    Raises:
        ServiceError: not a token, or everyone on the way could read it.
    """
    token = token.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ServiceError("token: expected the line that 'hushtune token' printed.")
    if not (address.encrypted or address.loopback or insecure_http):
        raise ServiceError(
            f"{address.url}: not encrypted on the way: everyone between here and there could read "
            "the token and use it. Use an https address, or allow it with insecure_http=True or "
            "--insecure-http."
        )
    return token


def public_key(signer: str | PathLike[str]) -> str:
    """A signer's Ed25519 public key as 64 hexadecimal digits.

    Args:
        signer: these digits, or the path of a PEM file.

    Raises:
        ServiceError: neither.
    """
    text = os.fspath(signer).strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    expected = "Expected 64 hexadecimal digits, as 'hushtune sign' prints them, or a PEM file"
    try:
        data = Path(text).read_bytes()
    except (OSError, ValueError) as error:
        raise ServiceError(f"signer={text}: no key, and no file to read. {expected}.") from error
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ServiceError(f"signer={text}: holds no public key. {expected}.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ServiceError(f"signer={text}: not an Ed25519 key. {expected}.")
    return key.public_bytes_raw().hex()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_pin(artifact: str) -> str:
    """The beginning of an artifact's id, long enough that nobody can make another one for it.

    Raises:
        ServiceError: it is none, or too short.
    """
    if not re.fullmatch(r"[0-9a-f]{16,64}", artifact.lower()):
        raise ServiceError(
            f"artifact={artifact[:80]!r}: expected 16 to 64 hexadecimal digits, the beginning of "
            "an artifact's id. 'hushtune info' prints it."
        )
    return artifact.lower()
