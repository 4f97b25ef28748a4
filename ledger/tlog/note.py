"""Signed notes (C2SP signed-note): a text, an empty line, and one line for each signature.

A note is UTF-8 text without control characters (below U+0020) other than the newline::

    <body: one or more lines, each ended by a newline>
    <empty line>
    — <key name> <base64(key ID ‖ signature)>

The em dash is U+2014. The signature covers the body with its last newline and without the empty line. The
last empty line of the note is the separator, so a body may hold empty lines of its own. A key name is not
empty and holds no white space and no plus sign. The key ID is four bytes,
``SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]``; type 0x01 is Ed25519. A verifier key is the text
``name+hex(key ID)+base64(type ‖ public key)``.

Reading is strict: base64 must be canonical, every signature line well formed. Signatures of keys that the
reader does not know are skipped, as the format demands; a known key's bad signature spoils the note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.tlog.errors import NoteError

ED25519: Final = 0x01
MAX_NOTE_BYTES: Final = 1_000_000
MAX_SIGNATURES: Final = 100

_KEY_ID_BYTES: Final = 4
_PREFIX: Final = "\u2014 "
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")


def check_name(name: str) -> None:
    """Raise NoteError unless `name` can be a key name: not empty, no white space, no plus, no control."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise NoteError(f"a key name is not empty and has no spaces and no plus sign, got {name!r}")


def decode_base64(what: str, text: str) -> bytes:
    """Decode canonical, padded, standard base64; raise NoteError, naming `what`, for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{what} is not standard base64: {text[:80]!r}") from error
    if base64.b64encode(data).decode() != text:
        raise NoteError(f"{what} is not canonical base64: {text[:80]!r}")
    return data


class Verifier(Protocol):
    """What `open_note` needs of a key, whatever its signature type."""

    @property
    def name(self) -> str:
        """The key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """The four bytes that name this key in signature lines."""
        ...

    def check(self, body: bytes, signature: bytes) -> None:
        """Raise NoteError unless `signature` is this key's over `body`."""
        ...


def key_id(name: str, typed_key: bytes) -> bytes:
    """Return ``SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]``."""
    return hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:_KEY_ID_BYTES]


def format_vkey(name: str, typed_key: bytes) -> str:
    """Return ``name+hex(key ID)+base64(type ‖ public key)``; inverse of `parse_vkey`."""
    return f"{name}+{key_id(name, typed_key).hex()}+{base64.b64encode(typed_key).decode()}"


def parse_vkey(vkey: str, kind: int, what: str) -> tuple[str, Ed25519PublicKey]:
    """Parse a verifier key of signature type `kind` over Ed25519 into (name, public key).

    Raises NoteError, also for a wrong key ID; `what` names the kind of key in the message.
    """
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise NoteError(f"a verifier key looks like name+keyid+base64, got {vkey[:200]!r}")
    name, written, encoded = parts
    check_name(name)
    key = decode_base64("the key in a verifier key", encoded)
    if len(key) != 33 or key[0] != kind:
        raise NoteError(
            f"the verifier key of {name!r} is no {what} (0x{kind:02x} and 32 bytes), got {key.hex()[:200]}"
        )
    wanted = key_id(name, key).hex()
    if wanted != written:
        raise NoteError(f"the verifier key of {name!r} says key ID {written[:80]!r}, expected {wanted}")
    return name, Ed25519PublicKey.from_public_bytes(key[1:])


def signature_line(name: str, identifier: bytes, signature: bytes) -> str:
    """Return the line that carries `signature` in a note, with its newline."""
    return f"{_PREFIX}{name} {base64.b64encode(identifier + signature).decode()}\n"


@dataclass(frozen=True)
class NamedKey:
    """An Ed25519 public key under a name; subclasses say of which C2SP signature type it is."""

    signature_type: ClassVar[int]
    description: ClassVar[str]

    name: str
    public_key: Ed25519PublicKey

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Parse ``name+hex(key ID)+base64(type ‖ public key)``; raises NoteError, also for a wrong key ID."""
        return cls(*parse_vkey(vkey, cls.signature_type, cls.description))

    @property
    def key_id(self) -> bytes:
        """The four bytes that name this key in signature lines."""
        return key_id(self.name, self._typed_key)

    @property
    def vkey(self) -> str:
        """The verifier key as text; inverse of `parse`."""
        return format_vkey(self.name, self._typed_key)

    @property
    def _typed_key(self) -> bytes:
        return bytes([self.signature_type]) + self.public_key.public_bytes_raw()


class NoteVerifier(NamedKey):
    """A key that note signatures are checked with."""

    signature_type = ED25519
    description = "Ed25519 key"

    def check(self, body: bytes, signature: bytes) -> None:
        """Raise NoteError unless `signature` is this key's over `body`."""
        try:
            self.public_key.verify(signature, body)
        except InvalidSignature as error:
            raise NoteError(f"the note's signature by {self.name} is not valid") from error


@dataclass(frozen=True)
class NoteSigner:
    """A key that signs notes under a name."""

    name: str
    private_key: Ed25519PrivateKey

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def verifier(self) -> NoteVerifier:
        """The key that checks this signer's notes."""
        return NoteVerifier(self.name, self.private_key.public_key())

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return self.verifier.vkey

    def line(self, body: bytes) -> str:
        """Return the signature line over `body`, with its newline."""
        return signature_line(self.name, self.verifier.key_id, self.private_key.sign(body))


@dataclass(frozen=True)
class ParsedNote:
    """A note taken apart, nothing of it checked: its body, and (name, key ID, signature) line by line."""

    body: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True)
class OpenedNote:
    """A note whose signatures were checked: its body, and the names of the known keys that signed it."""

    body: str
    verified: tuple[str, ...]


def sign_note(body: str, signers: Sequence[NoteSigner]) -> str:
    """Return the note that `signers` make of `body`; inverse of `open_note`.

    Raises NoteError if the body does not end in a newline or holds control characters, without a signer, or
    where one key would sign twice.
    """
    if not signers:
        raise NoteError("a note needs at least one signer, got none")
    if len({(signer.name, signer.verifier.key_id) for signer in signers}) != len(signers):
        raise NoteError("a note carries one signature for each key, got the same signer twice")
    data = _check_text(body)
    if not body.endswith("\n"):
        raise NoteError("a note's body ends with a newline, this one does not")
    return body + "\n" + "".join(signer.line(data) for signer in signers)


def parse_note(text: str) -> ParsedNote:
    """Take a note apart without believing any of it. Raises NoteError if it is malformed."""
    data = _check_text(text)
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"a note has at most {MAX_NOTE_BYTES} bytes, got {len(data)}")
    cut = text.rfind("\n\n")
    if cut < 0:
        raise NoteError("a note has an empty line before its signatures, this text has none")
    return ParsedNote(text[: cut + 1], tuple(parse_signatures(text[cut + 2 :])))


def open_note(text: str, verifiers: Sequence[Verifier]) -> OpenedNote:
    """Check a note's signatures and return its body.

    Raises NoteError if the note is malformed, if no known key signed it, or if a known key's signature is
    bad.
    """
    note = parse_note(text)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    if len(known) != len(verifiers):
        raise NoteError("two of the verifiers have the same name and key ID: no signature could be told apart")
    verified: dict[str, None] = {}
    for name, identifier, signature in note.signatures:
        verifier = known.get((name, identifier))
        if verifier is not None:
            verifier.check(note.body.encode(), signature)
            verified[name] = None
    if not verified:
        wanted = ", ".join(f"{name}+{identifier.hex()}" for name, identifier in known) or "nobody"
        signed = ", ".join(f"{name}+{identifier.hex()}" for name, identifier, _ in note.signatures)
        raise NoteError(f"no known key has signed this note: signed by {signed}, known are {wanted}")
    return OpenedNote(note.body, tuple(verified))


def parse_signatures(block: str) -> list[tuple[str, bytes, bytes]]:
    """Return (name, key ID, signature) of each line of a note's last part; raises NoteError."""
    if not block.endswith("\n"):
        raise NoteError("a note ends with signature lines, each ended by a newline; this one does not")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures, got {len(lines)}")
    return [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_PREFIX).partition(" ")
    if not line.startswith(_PREFIX) or not space:
        raise NoteError(f"a signature line is '— name base64', got {line[:200]!r}")
    check_name(name)
    blob = decode_base64(f"the signature by {name}", encoded)
    if len(blob) <= _KEY_ID_BYTES:
        raise NoteError(f"the signature by {name} has {len(blob)} bytes: a key ID of 4 and a signature are due")
    return name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:]


def _check_text(text: str) -> bytes:
    """Return `text` in UTF-8; raise NoteError for control characters and for what UTF-8 cannot hold."""
    found = _CONTROL.search(text)
    if found:
        raise NoteError(f"a note has no control characters, got U+{ord(found[0]):04X} at {found.start()}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("a note is UTF-8 text, this one holds a lone surrogate") from error
