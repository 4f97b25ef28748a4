"""What all predicates share: camelCase on the wire, unknown fields ignored, every known field checked.

A predicate is the part of an in-toto statement that says what happened (in-toto Attestation Framework v1).
Additions never make an old document invalid: new fields get defaults and readers ignore what they do not
know.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic._internal._model_construction import ModelMetaclass  # the type of every model; it has no other name
from pydantic.alias_generators import to_camel

PREDICATE_BASE = "urn:unlearning-ledger:predicate"


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a zone: give RFC 3339 with Z, as in 2026-01-31T12:00:00Z")
    return value.astimezone(UTC).replace(microsecond=0)


def _rfc3339(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Code = Annotated[
    str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60, description="a code, never text about a person")
]
Time = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_rfc3339, return_type=str, when_used="json")]
Count = Annotated[int, Field(ge=0, lt=2**53, strict=True)]


class _Plain(ModelMetaclass):
    """`isinstance` as with ordinary classes, in native code: rules ask it dozens of times an entry. Nothing is
    registered as a virtual subclass, which pydantic's own way would look for.
    """

    __instancecheck__ = type.__instancecheck__


class Part(BaseModel, metaclass=_Plain):
    """A JSON object inside a predicate: lowerCamelCase keys, immutable once parsed."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        ser_json_inf_nan="constants",  # else NaN in a free-form member would be signed as null
    )


class Predicate(Part):
    """Base of all predicates. `slug` and `version` make the type URI."""

    slug: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def type_uri(cls) -> str:
        """The predicateType this class reads and writes."""
        return f"{PREDICATE_BASE}:{cls.slug}:v{cls.version}"


class LogRef(Part):
    """A reference to an earlier leaf of the same log: its index and its RFC 6962 leaf hash."""

    index: Count
    leaf_hash: Sha256

    # As pydantic's own, at a tenth of its time: rules compare references several times an entry.
    def __eq__(self, other: object) -> bool:
        if type(other) is not LogRef:
            return NotImplemented
        return self.index == other.index and self.leaf_hash == other.leaf_hash

    def __hash__(self) -> int:
        return hash((self.index, self.leaf_hash))
