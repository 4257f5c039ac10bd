"""Ed25519 signatures of a bundle's manifest, through the package ``cryptography``.

The manifest holds the hash of every other file, so one signature covers the whole bundle.  What is
signed is ``CONTEXT`` and the manifest's bytes; the 64 bytes of the signature lie beside it in
manifest.sig.  Keys are PEM files as openssl makes them (PKCS 8, SubjectPublicKeyInfo).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dfedge.atomic import write_file
from dfedge.errors import DfedgeError, UsageError
from dfedge.regular import fault, open_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE = "manifest.sig"
SIGNATURE_BYTES = 64
MAX_KEY_BYTES = 1 << 16
REQUIRED = "DFEDGE_REQUIRE_SIGNATURE"
"""The variable that names a key which every bundle must be signed by."""
CONTEXT = b"dfedge bundle manifest 1\n"
"""Keeps a signature from meaning anything in another protocol that uses the same key."""


def required(given: str | Path | None = None) -> Path | None:
    """The public key that a bundle must be signed by: what was given, else what `REQUIRED` names.

    Raises:
        UsageError: an empty one, which would ask for nothing while it seems to.
    """
    where = "--require-signature" if given is not None else REQUIRED
    named = os.environ.get(REQUIRED) if given is None else str(given)
    if named is not None and not named.strip():
        raise UsageError(
            f"{where} is empty; give the path of a public key (PEM), or leave it out to ask for no "
            "signature"
        )
    return None if named is None else Path(named)


def make_keys(private: Path) -> Path:
    """Write a new key pair: ``private`` for its owner's eyes only, and ``.pub`` beside it.

    Raises:
        UsageError: a key is there already.
    """
    _need()
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = private.with_suffix(".pub")
    for path in (private, public):
        if path.exists():
            raise UsageError(f"{path} exists and is not replaced; choose another name")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    private.touch(mode=0o600, exist_ok=False)
    private.write_bytes(secret)
    pem = form.PublicFormat.SubjectPublicKeyInfo
    write_file(public, key.public_key().public_bytes(form.Encoding.PEM, pem))
    return public


def sign(folder: Path, manifest: bytes, key: Path) -> None:
    """Write the manifest's signature beside it.

    Raises:
        DfedgeError: no private Ed25519 key there.
    """
    write_file(folder / SIGNATURE, signed(manifest, key, CONTEXT))


def signed(data: bytes, key: Path, context: bytes) -> bytes:
    """The signature of data in a context, 64 bytes.

    Raises:
        DfedgeError: no private Ed25519 key there.
    """
    return _private_key(key).sign(context + data)


def is_by(key: Path, signature: bytes, data: bytes, context: bytes) -> bool:
    """Whether the key's owner signed the data in this context.

    Raises:
        DfedgeError: no public key there.
    """
    public = _public_key(key)
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, context + data)
    except InvalidSignature:
        return False
    return True


def check(folder: Path, manifest: bytes, key: Path) -> None:
    """Refuse a manifest that the key's owner did not sign.

    Raises:
        DfedgeError: not signed, signed by another, changed since, or no public key there.
    """
    _public_key(key)  # its faults come first
    try:
        with open_file(folder / SIGNATURE) as file:
            signature = file.read(SIGNATURE_BYTES + 1)
    except OSError as error:
        raise DfedgeError(
            f"{folder} is not signed ({fault(folder / SIGNATURE, error)}); its owner signs it "
            f"with: dfedge sign {folder} --key PRIVATE"
        ) from error
    if not is_by(key, signature, manifest, CONTEXT):
        raise DfedgeError(
            f"{folder}: its signature is not by {key}, or it was changed since; do not use it"
        )


def _private_key(path: Path) -> "Ed25519PrivateKey":
    _need()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, _unsupported()) as error:
        raise DfedgeError(f"{path}: no private key in PEM without a password ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DfedgeError(f"{path}: a {type(key).__name__}; expected: Ed25519")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    _need()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, _unsupported()) as error:
        raise DfedgeError(f"{path}: no public key in PEM ({error})") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DfedgeError(f"{path}: a {type(key).__name__}; expected: Ed25519")
    return key


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm


def _read(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise DfedgeError(f"{path}: no such key ({error.strerror})") from error


def _need() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise DfedgeError("signatures need a package; pip install 'dfedge[sign]'") from error
