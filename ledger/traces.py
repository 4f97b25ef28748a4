"""Traces with OpenTelemetry, where the environment names a collector; elsewhere nothing of it is even imported.

A request is one trace: its own span, those of the jobs that it starts, on whatever machine and however much later,
and those of the statements that both log. What a span is part of goes on as W3C Trace Context: in a header of the
messages to workers, and in the job's row, for jobs that the sweep wakes again.

    GET api/v1/...          http.request.method, http.route, http.response.status_code
    prover_worker.tasks...  ledger.job; error.type where the job's attempt has failed
    log                     ledger.statements (their kinds), ledger.first_index

Nothing else is said: no addresses, bodies, names, and of errors their class alone, since texts may quote what
they are about.

Variables are OpenTelemetry's own (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...); packages are the extra
"traces".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

NAME: Final = "unlearning-ledger"
PARENT: Final = "traceparent"  # of W3C Trace Context: version, trace, span, flags
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FLUSH_MS: Final = 5000
_OFF: Final = {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"}

Value = str | int | list[str]

_open: ContextVar[Any] = ContextVar("open", default=None)  # the block of a task, between two signals


def wanted() -> bool:
    """Whether the environment names a collector, and does not switch traces off."""
    off = any(os.environ.get(name, "").lower() == value for name, value in _OFF.items())
    return any(os.environ.get(name) for name in _ENDPOINTS) and not off


def installed() -> bool:
    """Whether the extra "traces" is there."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.exporter") is not None


@cache
def _provider() -> TracerProvider | None:
    """Made when the first span is, so in processes that have forked already: its thread stays with them."""
    if not wanted() or not installed():
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or NAME})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


@contextmanager
def span(
    name: str, what: Mapping[str, Value] | None = None, *, server: bool = False, parent: str | None = None
) -> Iterator[Span | None]:
    """A span around the block; None where traces are off. Its parent is the one around it, or `parent`."""
    provider = _provider()
    if provider is None:
        yield None
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    around = TraceContextTextMapPropagator().extract({PARENT: parent}) if parent else None
    kind = SpanKind.SERVER if server else SpanKind.INTERNAL
    with provider.get_tracer(NAME).start_as_current_span(
        name, around, kind, dict(what or {}), record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            _blame(made, error)
            raise


def went_wrong(error: BaseException) -> None:
    """What the current span is about has failed by `error`, which is raised no further."""
    if _provider() is not None:
        from opentelemetry.trace import get_current_span

        _blame(get_current_span(), error)


def _blame(made: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    made.set_attribute("error.type", type(error).__name__)
    made.set_status(Status(StatusCode.ERROR))


def answered(made: Span | None, method: str, route: str | None, status: int) -> None:
    """What became of a request: its span learns the address's pattern, never the address."""
    if made is None:
        return
    from opentelemetry.trace import Status, StatusCode

    made.update_name(f"{method} {route}" if route else method)
    made.set_attributes({"http.request.method": method, "http.response.status_code": status})
    if route:
        made.set_attribute("http.route", route)
    if status >= 500:
        made.set_status(Status(StatusCode.ERROR))


def parent() -> str:
    """The current span, for a message or a row that goes on with it; empty where traces are off."""
    if _provider() is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(PARENT, "")


def current() -> dict[str, str]:
    """What log lines say of the current span: {"trace": 32 hex digits}, or nothing."""
    said = parent().split("-")
    return {"trace": said[1]} if len(said) == 4 else {}


def begin(name: str, above: str | None, what: Mapping[str, Value]) -> None:
    """A span from now on until `end`: for signals that say when, and leave no block."""
    block = span(name, what, parent=above)
    block.__enter__()
    _open.set(block)


def end(error: BaseException | None = None) -> None:
    """The span of `begin` is over; `error` is what ended it."""
    block = _open.get()
    _open.set(None)
    if block is not None:
        if error is None:
            block.__exit__(None, None, None)
        else:
            block.__exit__(type(error), error, None)


def flush() -> None:
    """Send what waits to be sent, for some seconds: spans are sent by a thread, now and then."""
    provider = _provider()
    if provider is not None:
        provider.force_flush(_FLUSH_MS)
