"""What all answers share. `ledger.api.render*` makes them; these classes say what they look like.

The tests hold every answer against its class, so a member that is not declared here cannot be sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Time = Annotated[
    str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]})
]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256, lower-case hex")]
Base64 = Annotated[str, WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Object = dict[str, Any]


class Output(BaseModel):
    """Base of all answers: camelCase, nothing undeclared."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


Item = TypeVar("Item", bound=Output)


class Page(Output, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: Url | None = Field(description="address of the next page; null on the last one")


class Problem(Output):
    """RFC 9457 problem details."""

    type: str = Field(pattern="^urn:unlearning-ledger:problem:[a-z0-9-]+$", description="stable, for programs")
    title: str
    status: int
    detail: str = Field(description="one sentence for people that says what to do")


class Ref(Output):
    """A log entry, named by its index and RFC 6962 leaf hash."""

    index: int
    leaf_hash: Sha256


class Actor(Output):
    """Who did it."""

    kind: Literal["officer", "client", "system"]
    name: str
