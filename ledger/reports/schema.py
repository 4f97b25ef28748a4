"""The report as JSON: what PDF and tables are made of. docs/report.schema.json is generated from these classes.

Keys are lowerCamelCase, times RFC 3339 in UTC, digests lower-case hex. Readers ignore keys that they do not know;
additions never make an old report invalid.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from ledger.statements.predicates.base import Count, Part, Sha256, Time, Uuid

FORMAT: Final = "unlearning-report/v1"
Scope = Literal["request", "window", "client", "period"]


class About(Part):
    """What the report is about: one request, window or client; or the requests received in [since, until)."""

    scope: Scope
    id: Uuid | None = Field(None, description="null for a period")
    name: str = Field("", description="of the client or model, as the provider calls it")
    since: Time | None = None
    until: Time | None = None


class Log(Part):
    """The published head of the log under which everything in the report stands."""

    origin: str
    vkey: str = Field(description="the log's key, as signed notes name keys")
    provider_key: str = Field(description="Ed25519, raw, hex: signs statements")
    size: Count
    root: Sha256
    checkpoint: str = Field(description="the signed note")


class Request(Part):
    """One deletion request. `answeredAt`: denied, fulfilled or closed; `days` from receipt to answer, in days."""

    request: Uuid
    regulation: str
    state: str
    received_at: Time
    due_at: Time = Field(description="with the extension, if there was one")
    acknowledge_by: Time | None
    acknowledged_at: Time | None
    extended: bool
    extension_reason: str
    notified_at: Time | None = Field(description="when the person was told of the extension")
    decision: Literal["approved", "denied"] | None
    decision_reason: str
    decided_at: Time | None
    closure_reason: str
    answered_at: Time | None
    days: float | None
    in_time: bool | None = Field(description="answered by dueAt; null while that is open")
    filed_entry: Count
    decision_entry: Count | None
    fulfilled_entry: Count | None
    erased_entry: Count | None
    acknowledged_entry: Count | None = None
    extension_entry: Count | None = None
    closure_entry: Count | None = Field(None, description="revoked by the person, or expired")
    held: bool = Field(False, description="under a legal hold: nothing is decided until that is lifted")
    subject: str | None = Field(None, description="who asked: personal data, only where it was asked for")


class Order(Part):
    """One client's order. Chunk numbers and the figure of detection are those of its last verdict."""

    order: Uuid
    window: Uuid
    client: Uuid
    client_name: str = Field(
        description="as the provider calls it; empty in reports on a request, which persons get"
    )
    state: str
    attempts: Count
    coverage: str
    due_at: Time
    claimed_at: Time | None
    late: bool
    result: Literal["accepted", "rejected"] | None
    verdict_at: Time | None
    touched_chunks: Count | None
    proved_chunks: Count | None = Field(description="whose proofs were due and checked, failed ones too")
    failed_chunks: Count | None
    detection: str | None = Field(description="chance that one dishonest chunk is caught")
    bundle_sha256: Sha256 | None
    srs_provenance: str
    exception_reason: str
    order_entry: Count
    verdict_entry: Count | None


class Certificate(Part):
    """A certificate in the log; of several for one request and window the last one counts."""

    request: Uuid
    window: Uuid
    entry: Count
    issued_at: Time
    complete: bool
    quorum_percent: int
    coverage: str
    detection: str | None
    srs_provenance: str
    current: bool = Field(description="no supplement has brought it up to date")
    proves: list[str]
    does_not_prove: list[str]


class Window(Part):
    """One window: a mask for several requests."""

    window: Uuid
    model: str
    state: str
    requests: Count
    closed_at: Time | None
    masked_at: Time | None
    mask_sha256: str
    masked_weights: Count | None
    total_weights: Count
    coverage: str
    quorum_percent: int | None
    orders: dict[str, int] = Field(description="number of orders by state")
    closed_entry: Count | None
    mask_entry: Count | None


class Event(Part):
    """One step on the time line, with the log entry that records it."""

    at: Time
    what: str
    entry: Count


class Metrics(Part):
    """Requests received in the period under one regulation (CCPA regulations § 7102(a)(1); GDPR Art. 12(3))."""

    regulation: str
    received: Count
    fulfilled: Count = Field(description="complied with in whole")
    in_part: Count = Field(description="not fulfilled, but with a certificate that says what was done")
    denied: Count
    closed: Count = Field(description="revoked by the person, or expired without identification")
    pending: Count = Field(description="not answered yet; includes inPart")
    overdue: Count = Field(description="of the pending ones, past their due date when the report was made")
    extended: Count
    answered_in_time: Count
    answered_late: Count
    median_days: float | None = Field(description="from receipt to answer")
    mean_days: float | None
    denial_reasons: dict[str, int]
    extension_reasons: dict[str, int]
    by_month: dict[str, int] = Field(description="received, by month YYYY-MM (UTC)")


class Report(Part):
    """One audit report."""

    format: Literal["unlearning-report/v1"] = FORMAT
    report: Uuid
    about: About
    made_at: Time
    personal_data: bool
    log: Log
    metrics: list[Metrics] = []
    requests: list[Request] = []
    windows: list[Window] = []
    orders: list[Order] = []
    certificates: list[Certificate] = []
    timeline: list[Event] = []
    bundle_sha256: Sha256 | None = Field(None, description="of the window's audit bundle, if it is attached")

    def to_json(self) -> bytes:
        """Indented JSON with a line feed at its end, as bytes from the start: it may have tens of megabytes."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, indent=1) + b"\n"


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    made = Report.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Audit report", **made}
