"""In-toto statements (Attestation Framework v1): what the ledger's parties sign.

A statement is canonical JSON: ``{"_type": "https://in-toto.io/Statement/v1", "subject": [{"name", "digest":
{"sha256": hex}}, …], "predicateType": URI, "predicate": {…}}``, wrapped in a DSSE envelope. The predicate
says what happened; the subject names what it is about, by default the predicate itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from ledger.statements import canonical, dsse
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.predicates import PREDICATES, Predicate
from ledger.statements.predicates.base import PREDICATE_BASE

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_SUBJECTS: Final = 100

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: What stands around the predicate in canonical JSON.
_HEAD: Final = b'{"_type":"https://in-toto.io/Statement/v1","predicate":'
_TAIL_BEGINS: Final = b',"predicateType":"'
_TAIL: Final = re.compile(
    rb',"predicateType":"([a-z0-9:-]+)","subject":\[\{"digest":\{"sha256":"([0-9a-f]{64})"\},'
    rb'"name":"([a-z0-9-]{1,300})"\}\]\}'
)

#: As `model_validate_json` of each kind of predicate, without the detour.
_VALIDATE: Final = {uri.encode(): kind.__pydantic_validator__.validate_json for uri, kind in PREDICATES.items()}

Subject = tuple[str, str]


class Statement(NamedTuple):
    """A predicate and its subjects, each (name, SHA-256 in lower-case hex)."""

    predicate: Predicate
    subjects: tuple[Subject, ...]

    @property
    def predicate_type(self) -> str:
        """The URI of the predicate's kind."""
        return self.predicate.type_uri()

    def encode(self) -> bytes:
        """Return the canonical JSON; inverse of `decode`. Raises StatementError for unusable subjects."""
        _check_subjects(self.subjects)
        return canonical.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": predicate_json(self.predicate),
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> Statement:
        """Parse a statement of a kind that this ledger knows.

        Raises StatementError, in one sentence that names what was got, for anything else. Unknown members are
        ignored; known ones are checked strictly and only under their lowerCamelCase names.
        """
        return cls._from_common(payload) or cls._read(payload)

    @classmethod
    def _from_common(cls, payload: bytes) -> Statement | None:
        """As nearly all payloads are: canonical JSON, one subject with a plain name. Else None: `_read` decides.

        The predicate is read once to know that writing it again gives the same bytes, so no key occurs twice.
        """
        at = payload.rfind(_TAIL_BEGINS)
        found = _TAIL.fullmatch(payload, at) if at > 0 and payload.startswith(_HEAD) else None
        validate = None if found is None else _VALIDATE.get(found[1])
        if found is None or validate is None:
            return None
        body = payload[len(_HEAD) : at]
        try:
            members = from_json(body, allow_inf_nan=False)
            if type(members) is not dict or to_json(members) != body:
                return None
            predicate = validate(body, strict=True, by_alias=True, by_name=False)
        except ValueError:
            return None
        return cls(predicate, ((found[3].decode(), found[2].decode()),))

    @classmethod
    def _read(cls, payload: bytes) -> Statement:
        members = canonical.loads(payload, "the statement")
        if not isinstance(members, dict) or members.get("_type") != STATEMENT_TYPE:
            got = members.get("_type") if isinstance(members, dict) else type(members).__name__
            raise StatementError(f"a statement has _type {STATEMENT_TYPE!r}, got {_short(got)}")
        kind = members.get("predicateType")
        if not isinstance(kind, str) or kind not in PREDICATES:
            raise StatementError(
                f"this ledger knows no predicateType {_short(kind)}, only {PREDICATE_BASE}:SLUG:v1, SLUG one of "
                f"{', '.join(sorted(known.slug for known in PREDICATES.values()))}"
            )
        subjects = _parse_subjects(members.get("subject"))
        return cls(_parse_predicate(PREDICATES[kind], members.get("predicate")), subjects)


def predicate_json(predicate: Predicate) -> dict[str, Any]:
    """Return the predicate as it stands in a statement: plain JSON values under lowerCamelCase names.

    Raises StatementError if a free-form member holds what JSON has no word for.
    """
    try:
        return predicate.model_dump(mode="json", by_alias=True)
    except PydanticSerializationError as error:
        raise StatementError(f"the {predicate.slug} predicate has no JSON: {error}") from error


def default_subject(predicate: Predicate) -> Subject:
    """Return the predicate as its own subject: its slug and the SHA-256 of its canonical JSON."""
    digest = hashlib.sha256(canonical.dumps(predicate_json(predicate))).hexdigest()
    return predicate.slug, digest


def sign_statement(
    predicate: Predicate, key: Ed25519PrivateKey, subjects: Sequence[Subject] | None = None
) -> Envelope:
    """Sign a predicate, about `subjects` (name, SHA-256 hex) or about itself; inverse of `open_statement`.

    Raises StatementError for unusable subjects, EnvelopeError if the result is too large for a leaf.
    """
    about = (default_subject(predicate),) if subjects is None else tuple(subjects)
    return dsse.sign(Statement(predicate, about).encode(), key)


def open_statement(envelope: Envelope, public_key: Ed25519PublicKey) -> Statement:
    """Verify an envelope and then parse the bytes that were verified.

    Raises SignatureError if `public_key` has not signed it, StatementError if it holds no known statement.
    """
    payload = envelope.verify(public_key)
    if envelope.payload_type != dsse.PAYLOAD_TYPE:
        raise StatementError(
            f"an envelope of this ledger has payloadType {dsse.PAYLOAD_TYPE!r}, got {envelope.payload_type!r}"
        )
    return Statement.decode(payload)


def _parse_predicate(kind: type[Predicate], members: Any) -> Predicate:
    if not isinstance(members, dict):
        raise StatementError(f"a {kind.slug} predicate is a JSON object, got {_short(members)}")
    try:
        return kind.model_validate_json(canonical.dumps(members), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise StatementError(f"the {kind.slug} predicate is not valid: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    """Return the first complaint of pydantic as half a sentence: where, why, and what was got."""
    first, *others = error.errors(include_url=False, include_context=False)
    where = ".".join(str(step) for step in first["loc"]) or "the object"
    # What a missing field "got" is the object around it: that says nothing.
    got = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}{got}{more}"


def _parse_subjects(members: Any) -> tuple[Subject, ...]:
    if not isinstance(members, list):
        raise StatementError(f"a statement's subject is a list, got {_short(members)}")
    subjects = tuple(_parse_subject(member) for member in members)
    _check_subjects(subjects)
    return subjects


def _parse_subject(member: Any) -> Subject:
    digest = member.get("digest") if isinstance(member, dict) else None
    sha256 = digest.get("sha256") if isinstance(digest, dict) else None
    name = member.get("name") if isinstance(member, dict) else None
    if not isinstance(name, str) or not isinstance(sha256, str):
        raise StatementError(f"a subject has a name and a digest with sha256, got {_short(member)}")
    return name, sha256


def _check_subjects(subjects: Sequence[Subject]) -> None:
    if not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise StatementError(f"a statement has 1 to {MAX_SUBJECTS} subjects, got {len(subjects)}")
    for name, digest in subjects:
        if not 1 <= len(name) <= 300:
            raise StatementError(f"a subject's name has 1 to 300 characters, got {len(name)}")
        if not _HEX.fullmatch(digest):
            raise StatementError(f"a subject's sha256 is 64 lower-case hex digits, got {_short(digest)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
