"""What an operation needs, takes and answers: said once, beside its code.

Permissions, the OpenAPI document and the tests read it. An operation that does not say is refused to everybody.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from django.http.response import HttpResponseBase
from pydantic import BaseModel
from rest_framework.request import Request

from ledger.api import etags, idempotency, ranges
from ledger.workflow.errors import WorkflowError

if TYPE_CHECKING:
    from ledger.api.view import ApiView

Method = TypeVar("Method", bound=Callable[..., HttpResponseBase])


@dataclass(frozen=True)
class Media:
    """A body that is no JSON document of ours."""

    type: str
    text: bool = False


TEXT: Final = Media("text/plain", text=True)
BYTES: Final = Media("application/octet-stream")
Body = type[BaseModel] | Media | None


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    summary: str
    needs: str | None = None  # the permission that an officer must have
    takes: Body | tuple[Media, ...] = None
    query: type[BaseModel] | None = None
    gives: Mapping[int, Body] = field(default_factory=dict)
    headers: tuple[str, ...] = ()  # further request headers that it reads
    refuses: tuple[int, ...] = ()  # statuses of refusals of its own, beside those that all have
    repeatable: bool = False  # a POST that can be sent again without harm


class Declared(Protocol):
    """A method with its operation."""

    operation: Operation


def operation(
    summary: str,
    *,
    needs: str | None = None,
    takes: Body | tuple[Media, ...] = None,
    query: type[BaseModel] | None = None,
    gives: Mapping[int, Body],
    headers: tuple[str, ...] = (),
    refuses: tuple[int, ...] = (),
    repeatable: bool = False,
    resumable: bool = False,
    guards: Callable[..., object] | None = None,
) -> Callable[[Method], Method]:
    """Declare a view's method. POSTs of known callers are done once per Idempotency-Key.

    A client's POST must carry a key, covered by its signature, unless it is `repeatable`: whoever overhears the
    request could otherwise send it again. A GET that is `resumable` sends a file, or the range of it that is asked
    for (`ledger.api.ranges`). `guards` renders the resource that is changed, from the address's
    arguments: If-Match is held against its entity tag.
    """
    headers = headers if guards is None else (*headers, "If-Match")
    if resumable:
        headers, gives, refuses = (*headers, *ranges.HEADERS), {**gives, 206: gives[200]}, (*refuses, 416)
    said = Operation(summary, needs, takes, query, gives, headers, refuses, repeatable)

    def declare(method: Method) -> Method:
        @functools.wraps(method)
        def run(view: ApiView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            def act() -> Any:
                if guards is None:
                    return method(view, request, *args, **kwargs)
                with etags.unchanged(request, lambda: guards(*args, **kwargs)):
                    return method(view, request, *args, **kwargs)

            if request.method != "POST" or view.caller is None or repeatable:
                return act()
            if view.caller.startswith("client:") and "Idempotency-Key" not in request.headers:
                raise WorkflowError(
                    "idempotency-key-missing",
                    "a client's POST needs an Idempotency-Key header, covered by its signature",
                    400,
                )
            return idempotency.once(view.caller, request, act)

        run.operation = said  # type: ignore[attr-defined]
        return cast(Method, run)

    return declare


def of(view: object, method: str | None) -> Operation | None:
    """What the view's method has declared."""
    return getattr(getattr(view, (method or "").lower(), None), "operation", None)
