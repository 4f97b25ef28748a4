"""The OpenAPI 3.1 document, made from the urlconf and from what each operation declares."""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import yaml
from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render as render_template
from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from pydantic.json_schema import model_json_schema
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import operations, outputs
from ledger.api.auth import (
    ClientSignature,
    ClientView,
    OfficerView,
    PartyView,
    Password,
    Session,
    Token,
)
from ledger.api.inputs import Input
from ledger.api.operations import Body, Media, Operation, operation
from ledger.api.problems import CONTENT_TYPE
from ledger.api.public import PublicView

_REF: Final = "#/components/schemas/{model}"
_TAGS: Final = {
    "blobs": "Files",
    "uploads": "Files",
    "log": "Log",
    "statements": "Log",
    "certificates": "Proofs",
    "verdicts": "Proofs",
    "proofs": "Proofs",
    "checkpoint": "Log",
    "tile": "Log",
    "regulations": "Requests",
    "datasets": "Requests",
}
_PROBLEMS: Final = {
    400: "The request cannot be read, or lacks a header that it needs.",
    401: "No credentials, or wrong ones.",
    403: "These credentials may not do this.",
    404: "There is no such thing, or it is another's.",
    405: "The address does not take this method; Allow lists those it takes.",
    409: "The present state does not allow it, or a request with this Idempotency-Key is at work.",
    412: "If-Match names another version than the present one.",
    413: "The body is too large.",
    415: "The body has another type than this address takes.",
    416: "The file has none of the bytes that Range asks for; Content-Range says how many it has.",
    422: "Something in the request cannot be; `detail` says what.",
    429: "Too many requests; Retry-After says how many seconds to wait.",
    500: "The ledger failed. Nothing was changed.",
}


class Signatures(OpenApiAuthenticationExtension):
    """How clients sign their requests."""

    target_class = ClientSignature
    name = "clientSignature"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """OpenAPI has no word for RFC 9421."""
        del auto_schema
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Signature",
            "description": (
                "HTTP Message Signatures (RFC 9421) by an enrolled client's Ed25519 key: headers Signature-Input "
                "and Signature, tag `unlearning-ledger`, over `@method`, `@target-uri`, with a body also "
                "`content-digest` (RFC 9530), and `idempotency-key` and `if-match` where they are sent. "
                "Accepted for 300 seconds. See docs/api.md."
            ),
        }


class Passwords(OpenApiAuthenticationExtension):
    """Officers' names and passwords, where these are enough."""

    target_class = Password
    name = "basicAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """HTTP Basic."""
        del auto_schema
        return {"type": "http", "scheme": "basic", "description": "For accounts that need no second factor."}


class Tokens(OpenApiAuthenticationExtension):
    """Programs' tokens."""

    target_class = Token
    name = "tokenAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """HTTP Bearer."""
        del auto_schema
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "Made in the console, for one role of its owner.",
        }


class Sessions(OpenApiAuthenticationExtension):
    """The console's cookie."""

    target_class = Session
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """A cookie, with the CSRF token in X-CSRFToken."""
        del auto_schema
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class Pydantic(OpenApiSerializerExtension):
    """Bodies as JSON Schema: what may be left out of a request is always there in an answer."""

    target_class = "pydantic.BaseModel"
    match_subclasses = True
    priority = 1

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        """The class's name, or that of the page's items."""
        del auto_schema, direction
        set_override(self.target, "suppress_collision_warning", True)
        return component_name(self.target)

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Its schema; schemas inside become components of their own."""
        mode: Any = "validation" if direction == "request" else "serialization"
        schema = model_json_schema(self.target, ref_template=_REF, mode=mode)
        for name, part in schema.pop("$defs", {}).items():
            found = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=part)
            auto_schema.registry.register_on_missing(found)
        return schema


class Schema(AutoSchema):
    """Reads `operation` off each method."""

    @property
    def said(self) -> Operation:
        """The declaration of the method at hand."""
        found = operations.of(self.view, self.method)
        assert found is not None, f"{self.method} {self.path} has no @operation"
        return found

    def is_excluded(self) -> bool:
        """What declares nothing is not shown."""
        return operations.of(self.view, self.method) is None

    def get_operation_id(self) -> str:
        """Stable as long as the view's name is."""
        return f"{self.method.lower()}{type(self.view).__name__}"

    def get_summary(self) -> str:
        """One line."""
        return self.said.summary

    def get_description(self) -> str:  # type: ignore[override]
        """What the method's docstring says, and who may."""
        text = (getattr(self.view, self.method.lower()).__doc__ or "").strip()
        lines = [" ".join(part.split()) for part in text.split("\n\n")]
        return "\n\n".join([*lines, self._who()])

    def get_tags(self) -> list[str]:
        """By the first word of the path."""
        word = self.path.removeprefix("/api/v1/").strip("/").split("/", 1)[0].split(".", 1)[0]
        return [_TAGS.get(word, word.capitalize())]

    def get_auth(self) -> list[dict[str, Any]]:
        """Public operations say so, rather than nothing."""
        return super().get_auth() or [{}]

    def get_request_serializer(self) -> Any:
        """The body by media type."""
        takes = self.said.takes
        if isinstance(takes, Media):
            takes = (takes,)
        if isinstance(takes, tuple):
            return {media.type: _binary(media) for media in takes}
        return takes and {"application/json": takes}

    def get_response_serializers(self) -> Any:
        """Answers as declared, and the refusals that this kind of operation knows."""
        answers: dict[Any, Any] = {}
        for status, body in self.said.gives.items():
            answers.update(_answer(status, body))
        if self.method == "GET":
            answers.update(_answer(304, None))
        for status in sorted(self._refusals()):
            answers[(str(status), CONTENT_TYPE)] = OpenApiResponse(outputs.Problem, _PROBLEMS[status])
        return answers

    def get_override_parameters(self) -> list[Any]:
        """The address's parameters and the headers that are read."""
        said = self.said
        found: list[Any] = [_parameter(*each) for each in _properties(said.query)] if said.query else []
        if self.method == "GET":
            found.append(_header("If-None-Match", "the ETag of an earlier answer: 304 if it is still the same"))
        if self._is_once():
            found.append(
                _header(
                    "Idempotency-Key",
                    "a fresh value per intent: sent again within 24 hours it gets the same answer, without effect",
                    required=isinstance(self.view, ClientView),
                    pattern="^[!-~]{1,255}$",
                )
            )
        described = {
            "If-Match": "the ETag under which it was read: 412 if it has changed since",
            "Range": "one range of bytes, as `bytes=1000-`: 206 with these; several are ignored",
            "If-Range": "the ETag of the part that is there already: all of the file if it has changed since",
        }
        found += [_header(name, described.get(name, "see the description")) for name in said.headers]
        return found

    def _is_once(self) -> bool:
        return self.method == "POST" and not self.said.repeatable and not isinstance(self.view, PublicView)

    def _refusals(self) -> set[int]:
        known = {400, 429, 500, *self.said.refuses}
        if not isinstance(self.view, PublicView):
            known |= {401, 403}
        if "{" in self.path:
            known.add(404)
        if self.said.query is not None:
            known.add(422)
        if self.said.takes is not None:
            known |= {413, 415, 422} if isinstance(self.view, PublicView) else {404, 413, 415, 422}
        if self.method != "GET":
            known |= {409, 415, 422}
        if "If-Match" in self.said.headers:
            known.add(412)
        return known

    def _who(self) -> str:
        if isinstance(self.view, OfficerView):
            return f"Officers with the permission `{self.said.needs}`."
        if isinstance(self.view, PartyView):
            return f"Clients, of their own; officers with the permission `{self.said.needs}`, of all."
        return "Enrolled clients." if isinstance(self.view, ClientView) else "Everybody."


class OpenApi(PublicView):
    """GET: this document."""

    @operation("The OpenAPI document, JSON", gives={200: Media("application/json")})
    def get(self, _request: Request) -> Response:
        """OpenAPI 3.1."""
        return Response(document())


class OpenApiYaml(PublicView):
    """GET: the document for people who read YAML."""

    @operation("The OpenAPI document, YAML", gives={200: Media("application/yaml", text=True)})
    def get(self, _request: Request) -> HttpResponse:
        """The same as openapi.json."""
        return HttpResponse(as_yaml(), content_type="application/yaml")


class Documentation(PublicView):
    """GET: a page to read the document on."""

    @operation("The documentation page", gives={200: Media("text/html", text=True)})
    def get(self, request: Request) -> HttpResponse:
        """All scripts and styles come from this server."""
        return render_template(request._request, "ledger/api.html")  # noqa: SLF001


def component_name(kind: type) -> str:
    """How a body is called in the document: Page[Job] is JobPage, and what is taken is NewClientInput."""
    name = kind.__name__
    if issubclass(kind, Input):
        return f"{name}Input"
    return f"{name[5:-1]}Page" if name.startswith("Page[") else name


@functools.cache
def document() -> Any:
    """The document; made once in each process."""
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True), default=str))


@functools.cache
def as_yaml() -> str:
    """The document as docs/openapi.yaml has it."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)


def _answer(status: int, body: Body) -> dict[Any, Any]:
    if body is None:
        return {str(status): OpenApiResponse(None, "Nothing changed since." if status == 304 else "Done.")}
    if isinstance(body, Media):
        words = "The range that was asked for." if status == 206 else "As asked for."
        return {(str(status), body.type): OpenApiResponse(_binary(body), words)}
    return {(str(status), "application/json"): OpenApiResponse(body, (body.__doc__ or "").split("\n")[0])}


def _binary(media: Media) -> dict[str, Any]:
    if media.type in ("application/json", "application/yaml"):
        return {"type": "object"}
    return {"type": "string"} if media.text else {"type": "string", "contentMediaType": media.type}


def _header(name: str, description: str, *, required: bool = False, pattern: str | None = None) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, required=required, description=description, pattern=pattern
    )


def _properties(query: Any) -> list[tuple[str, dict[str, Any], bool]]:
    schema = model_json_schema(query, mode="validation")
    definitions = schema.get("$defs", {})
    needed = schema.get("required", [])
    return [(name, _inline(part, definitions), name in needed) for name, part in schema["properties"].items()]


def _inline(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null (an address cannot say it) and without references."""
    part = {key: value for key, value in part.items() if key != "default" or value is not None}
    part.pop("title", None)
    options = [each for each in part.pop("anyOf", []) if each.get("type") != "null"]
    if len(options) == 1:
        part |= options[0]
    reference = part.pop("$ref", None)
    if reference:
        part |= {
            k: v for k, v in definitions[reference.rsplit("/", 1)[1]].items() if k not in ("title", "description")
        }
    return part


def _parameter(name: str, schema: dict[str, Any], required: bool) -> OpenApiParameter:
    description = schema.pop("description", None) or ""
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, required=required, description=description)
