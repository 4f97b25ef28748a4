"""DSSE envelopes: signed bytes with their type (Dead Simple Signing Envelope v1).

On the wire an envelope is JSON: ``{"payload": base64, "payloadType": text, "signatures": [{"keyid": text,
"sig": base64}, …]}``. What is signed is not the JSON but

    ``DSSEv1 SP len(type) SP type SP len(body) SP body``

with lengths in bytes, ASCII decimal. A reader checks a signature first and parses those very bytes after.
The key ID is a hint for finding the key and proves nothing. Base64 is accepted in the standard and in the
URL-safe alphabet and written in the standard one; unknown members are ignored, as the format demands.

`Envelope.to_bytes` is canonical: those bytes are the leaf of the log, hence the limit of 65,535 bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.statements import canonical, keys
from ledger.statements.errors import EnvelopeError, SignatureError, StatementError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES: Final = 65_535
MAX_SIGNATURES: Final = 8

_TYPE: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
_KEYID: Final = re.compile(r"[ -~]{0,200}", re.ASCII)
#: What stands around the payload in the canonical form of an envelope of ours, whose key ID is a digest.
_LEAF_HEAD: Final = b'{"payload":"'
_LEAF_TAIL: Final = re.compile(
    rb'","payloadType":"application/vnd\.in-toto\+json",'
    rb'"signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]*={0,2})"\}\]\}'
)


def pae(payload_type: str, body: bytes) -> bytes:
    """Return the bytes that are signed: the pre-authentication encoding of DSSE v1."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


class Signature(NamedTuple):
    """One signature of an envelope; `keyid` is a hint only and may be empty."""

    keyid: str
    sig: bytes


class Envelope(NamedTuple):
    """A payload (raw bytes), its type, and who signed it."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Parse an envelope; raises EnvelopeError. Nothing is verified yet."""
        envelope = cls._read(data)
        envelope.to_bytes()  # a missing keyid is written out, so the canonical form may be longer
        return envelope

    @classmethod
    def from_leaf(cls, data: bytes) -> Envelope:
        """Parse a leaf of the log, which is canonical; inverse of `to_bytes`. Raises EnvelopeError."""
        envelope = cls._from_common_leaf(data)
        if envelope is not None:
            return envelope
        envelope = cls._read(data)
        if envelope.to_bytes() != data:
            raise EnvelopeError("this is an envelope, but not in the canonical form that a leaf has")
        return envelope

    @classmethod
    def _from_common_leaf(cls, data: bytes) -> Envelope | None:
        """As nearly all leaves are: one signature, and nothing that JSON would have to escape. Else None."""
        if len(data) > MAX_ENVELOPE_BYTES or not data.startswith(_LEAF_HEAD):
            return None
        end = data.find(b'"', len(_LEAF_HEAD))
        found = _LEAF_TAIL.fullmatch(data, end) if end > 0 else None
        if found is None:
            return None
        payload, sig = _canonical_base64(data[len(_LEAF_HEAD) : end]), _canonical_base64(found[2])
        if payload is None or sig is None:
            return None
        return cls(payload, PAYLOAD_TYPE, (Signature(found[1].decode(), sig),))

    @classmethod
    def _read(cls, data: bytes) -> Envelope:
        if len(data) > MAX_ENVELOPE_BYTES:
            raise EnvelopeError(f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes, got {len(data)}")
        try:
            members = canonical.loads(data, "the envelope")
        except StatementError as error:
            raise EnvelopeError(str(error)) from error
        payload_type = _member(members, "payloadType", str)
        if not _TYPE.fullmatch(payload_type):
            raise EnvelopeError(f"payloadType is 1 to 200 printable ASCII characters, got {payload_type[:80]!r}")
        signatures = _member(members, "signatures", list)
        if not 1 <= len(signatures) <= MAX_SIGNATURES:
            raise EnvelopeError(f"an envelope has 1 to {MAX_SIGNATURES} signatures, got {len(signatures)}")
        payload = _decode_base64(_member(members, "payload", str), "payload")
        return cls(payload, payload_type, tuple(_parse_signature(entry) for entry in signatures))

    def to_bytes(self) -> bytes:
        """Return the canonical JSON, which is the leaf of the log.

        Raises EnvelopeError if it would be longer than 65,535 bytes.
        """
        data = canonical.dumps(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": signature.keyid, "sig": base64.b64encode(signature.sig).decode()}
                    for signature in self.signatures
                ],
            }
        )
        if len(data) > MAX_ENVELOPE_BYTES:
            raise EnvelopeError(f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes, this one has {len(data)}")
        return data

    @property
    def keyid(self) -> str:
        """The key ID hint of the only signature; raises EnvelopeError where there are several."""
        if len(self.signatures) != 1:
            raise EnvelopeError(f"expected an envelope with one signature, got {len(self.signatures)}")
        return self.signatures[0].keyid

    def verify(self, public_key: Ed25519PublicKey) -> bytes:
        """Return the payload if `public_key` signed it; raises SignatureError if it did not."""
        signed = pae(self.payload_type, self.payload)
        for signature in self.signatures:
            try:
                public_key.verify(signature.sig, signed)
            except InvalidSignature:
                continue
            return self.payload
        hints = ", ".join(signature.keyid or "(no key ID)" for signature in self.signatures)
        raise SignatureError(
            f"the envelope has no valid signature by key {keys.keyid(public_key)}: it is signed by {hints}"
        )


def sign(payload: bytes, key: Ed25519PrivateKey, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Sign `payload` and return its envelope; raises EnvelopeError if that would be too large for a leaf."""
    signature = Signature(keys.keyid(key), key.sign(pae(payload_type, payload)))
    envelope = Envelope(payload, payload_type, (signature,))
    envelope.to_bytes()
    return envelope


def countersign(envelope: Envelope, key: Ed25519PrivateKey) -> Envelope:
    """Return the envelope with one more signature; raises EnvelopeError if it gets too large for a leaf."""
    signature = Signature(keys.keyid(key), key.sign(pae(envelope.payload_type, envelope.payload)))
    signed = Envelope(envelope.payload, envelope.payload_type, (*envelope.signatures, signature))
    signed.to_bytes()
    return signed


def _member(members: Any, name: str, kind: type) -> Any:
    if not isinstance(members, dict):
        raise EnvelopeError(f"an envelope is a JSON object, got {type(members).__name__}")
    if name not in members:
        raise EnvelopeError(f"the envelope has no {name}")
    if not isinstance(members[name], kind):
        raise EnvelopeError(f"the envelope's {name} is a {kind.__name__}, got {type(members[name]).__name__}")
    return members[name]


def _parse_signature(members: Any) -> Signature:
    sig = _decode_base64(_member(members, "sig", str), "sig")
    keyid = members.get("keyid") or ""
    if not isinstance(keyid, str) or not _KEYID.fullmatch(keyid):
        raise EnvelopeError(f"keyid is text of at most 200 printable ASCII characters, got {str(keyid)[:80]!r}")
    return Signature(keyid, sig)


def _canonical_base64(text: bytes) -> bytes | None:
    """What `text` encodes in the standard alphabet, if it is the one spelling of that."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    # Strict mode lets other spellings pass in two places: padding where none is due, and the bits that the last
    # character leaves unused.
    last = len(data) % 3
    if len(text) != (len(data) + 2) // 3 * 4:
        return None
    return data if not last or binascii.b2a_base64(data[-last:], newline=False) == text[-4:] else None


def _decode_base64(text: str, what: str) -> bytes:
    """Decode padded base64 in either alphabet; a mixture of the two, or stray bits, is refused."""
    alternative = b"-_" if "-" in text or "_" in text else b"+/"
    try:
        data = base64.b64decode(text, altchars=alternative, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError(f"{what} is not base64: {error}") from error
    if base64.b64encode(data, altchars=alternative).decode() != text:
        raise EnvelopeError(f"{what} is not canonical base64")
    return data
