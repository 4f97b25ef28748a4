"""JSON bodies of officers' requests: camelCase, unknown members refused, one sentence per mistake."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from ledger.workflow.errors import WorkflowError


class JsonBody(JSONParser):
    """JSON without NUL characters: the only ones that PostgreSQL's text cannot hold."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """What the body says. Raises ParseError if it is not JSON, or has a NUL anywhere."""
        said = super().parse(stream, media_type, parser_context)
        if _has_nul(said):
            raise ParseError("got a NUL character (\\u0000) in the body, expected text without: leave it out")
        return said


def _has_nul(said: object) -> bool:
    if isinstance(said, dict):
        return any(_has_nul(one) for pair in said.items() for one in pair)
    if isinstance(said, list):
        return any(map(_has_nul, said))
    return isinstance(said, str) and "\0" in said


class Input(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class NewClient(Input):
    """POST /clients."""

    name: str
    days: int | None = None


class NewToken(Input):
    """POST /clients/{id}/token."""

    days: int | None = None


class Reenrolment(Input):
    """POST /clients/{id}/reenrol."""

    reason: str = "lost"
    days: int | None = None


class KeyRevocation(Input):
    """POST /clients/{id}/keys/{keyid}/revoke."""

    reason: str


class Label(Input):
    """PATCH /me/keys/{keyid}."""

    label: str


class NewUpload(Input):
    """POST /uploads."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the whole file")
    size: int = Field(ge=1, lt=2**62, description="bytes of the whole file")
    part_size: int | None = Field(None, ge=1, description="bytes of every part but the last; the most by default")


Body = TypeVar("Body", bound=Input)


def parse(request: Request, kind: type[Body]) -> Body:
    """The request's JSON body as `kind`; 422 if it is something else."""
    return checked(request.data, kind)


def checked(given: object, kind: type[Body], code: str = "bad-input") -> Body:
    """What was given as `kind`; 422 with the first mistake if it is something else."""
    try:
        return kind.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the body"
        raise WorkflowError(code, f"{where}: {first['msg']}, got {first['input']!r:.200}", 422) from error
