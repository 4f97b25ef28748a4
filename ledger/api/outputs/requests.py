"""Answers about deletion requests."""

from __future__ import annotations

from typing import Any

from ledger.api.outputs.base import Id, Object, Output, Ref, Time
from ledger.api.outputs.work import Event, Job


class RequestLine(Output):
    """A request in a list."""

    uuid: Id
    subject_request_id: Id | None
    regulation: str
    state: str
    received_at: Time
    due_at: Time
    expires_at: Time | None
    acknowledge_by: Time | None
    acknowledged: bool
    held: bool
    verified: bool
    dataset: str
    forget: Any
    matches: int | None
    windows: list[Id]


class IdentityCheck(Output):
    """One check of who asks."""

    method: str
    result: str
    checked_at: Time
    entry: Ref | None


class Identity(Output):
    """Whether it is known who asks."""

    verified: bool
    checks: list[IdentityCheck]


class Approval(Output):
    """One officer's approval."""

    officer: str
    name: str
    at: Time


class Approvals(Output):
    """How many officers must approve, and who has."""

    needed: int
    given: list[Approval]


class Extension(Output):
    """More time, as the law allows."""

    entry: Ref
    reason: str
    notified_at: Time | None


class Hold(Output):
    """A legal hold."""

    reason: str
    set: Ref
    lifted: Ref | None
    lift_reason: str | None


class RequestCertificate(Output):
    """What one window did about the request."""

    ref: Ref
    window: Id
    complete: bool


class Request(RequestLine):
    """A deletion request with everything that was recorded, and never who asked."""

    terms: Object
    filed: Ref
    acknowledgement: Ref | None
    identity: Identity
    approvals: Approvals
    extension: Extension | None
    holds: list[Hold]
    duplicate_of: Id | None
    duplicate_reason: str | None
    duplicates: list[Id]
    status_callback_urls: list[str]
    decision: Ref | None
    decision_reason: str
    reference: str | None
    closure: Ref | None
    closure_reason: str | None
    erased: Ref | None
    certificates: list[RequestCertificate]
    fulfilled: Ref | None


class RequestPage(Request):
    """A request and its timeline."""

    timeline: list[Event]


class Dataset(Output):
    """A data set's current sample index."""

    dataset: str
    digest: str
    samples: int
    fields: Any
    registered_at: Time


class Datasets(Output):
    """The data sets whose samples can be looked up."""

    datasets: list[Dataset]


class Preview(Output):
    """What a reference matches."""

    forget: Any
    matches: int | None
    detail: str
    index: Dataset | None


class ImportLine(Output):
    """An import in a list."""

    uuid: Id
    created_at: Time
    officer: str
    format: str
    dry_run: bool
    finished_at: Time | None
    lines: int
    filed: int
    already: int
    refused: int


class ImportReport(ImportLine):
    """An import; its report says of each line what became of it."""

    report: Any


class Import(ImportReport):
    """An import and the job that reads it."""

    job: Job | None


class ReasonCode(Output):
    """A reason."""

    meaning: str
    drp: str | None


class Reasons(Output):
    """Every code that requests take."""

    reasons: dict[str, dict[str, ReasonCode]]
    identity_methods: dict[str, str]
    erasure: list[str]


class Terms(Output):
    """Periods and policy of one regulation."""

    regulation: str
    name: str
    months: int
    days: int
    extension_months: int
    extension_days: int
    notice: str
    acknowledge_business_days: int
    identity_required: bool
    identity_days: int
    four_eyes: bool
    exclude_filer: bool


class Regulations(Output):
    """Periods and policy of every regulation."""

    regulations: list[Terms]
