"""``hushtune sign``: say who made an artifact."""

from pathlib import Path
from typing import Annotated

import typer

from hushtune.cli.output import console, say
from hushtune.support.errors import ConfigError


def sign(
    artifact: Annotated[
        Path | None, typer.Argument(help="Folder of an artifact; none with --new-key.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Private key to sign with (PEM), from --new-key.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key pair; write the private key to this new file.")
    ] = None,
    ask_passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt the new key with a passphrase, asked for.")
    ] = False,
) -> None:
    """Sign an artifact, so that others can tell who made it; print the public key.

    Publish the public key where people trust it. Keep the private key to yourself.

    Example: [bold]hushtune sign --new-key signing.pem[/bold], then
    [bold]hushtune sign runs/demo/artifact --key signing.pem[/bold]
    """
    from hushtune.fhe import signing

    if new_key is not None:
        if artifact is not None or key is not None:
            raise ConfigError("--new-key: makes a key and signs nothing. Sign with --key after it.")
        passphrase = _ask("Passphrase of the new key", twice=True) if ask_passphrase else None
        public_key = signing.new_key(new_key, passphrase)
        say(f"Private key: {new_key}. Public key:")
    else:
        if artifact is None or key is None:
            raise ConfigError("Give an artifact and --key FILE, or --new-key FILE.")
        passphrase = _ask(f"Passphrase of {key}") if signing.is_encrypted(key) else None
        public_key = signing.sign(artifact, signing.load_key(key, passphrase))
        say(f"Signed {artifact}. Public key:")
    console.print(public_key, markup=False)


def _ask(what: str, *, twice: bool = False) -> str:
    """Ask for a passphrase without showing it; ``HUSHTUNE_PASSPHRASE`` answers instead."""
    import os

    given = os.environ.get("HUSHTUNE_PASSPHRASE")
    return given or str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
