"""Answers about orders, files, jobs, events, proofs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ledger.api.outputs.base import Actor, Id, Object, Output, Ref, Sha256, Time, Url


class Blob(Output):
    """A stored file."""

    sha256: Sha256
    size: int


class Challenge(Output):
    """What fixes a claim's random numbers."""

    ref: Ref
    checkpoint: str
    claim_index: int


class Failure(Output):
    """A chunk that failed; null: something about the proof as a whole."""

    chunk: int | None
    reason: str


class Verdict(Output):
    """What the verifier found."""

    ref: Ref
    result: Literal["accepted", "rejected"]
    failures: list[Failure]


class Objection(Output):
    """Why a client says that it does not obey an order."""

    ref: Ref
    reason: str


class Order(Output):
    """An order as its client sees it; claim, challenge, proof and verdict are of the latest attempt."""

    uuid: Id
    window: Id
    client: Id
    state: str
    attempt: int
    due_at: Time
    coverage: Any
    exception: Ref | None
    order: Ref
    mask: Ref | None
    mask_sha256: Sha256
    commitment: Ref
    circuit: Ref
    model: Ref
    claim: Ref | None
    challenge: Challenge | None
    proof: Ref | None
    verdict: Verdict | None
    objection: Objection | None


class Job(Output):
    """A background job."""

    uuid: Id
    kind: str
    target: Id
    state: Literal["queued", "running", "done", "failed"]
    attempts: int
    progress: float = Field(description="0 to 1")
    message: str
    error: str


class Event(Output):
    """Something that happened."""

    id: int
    kind: str
    at: Time
    actor: Actor
    request: Id | None
    window: Id | None
    order: Id | None
    client: Id | None
    model: Id | None
    entry: Ref | None
    data: Object


class OwnEvent(Output):
    """Something that happened to a client; what it means, the order or the client's page says."""

    id: int
    kind: str
    at: Time
    order: Id | None
    window: Id | None
    model: Id | None
    entry: Ref | None


class AllEvents(Output):
    """Events after a number, oldest first."""

    items: list[Event]
    last: int = Field(description="ask for what comes after this number next")


class Events(Output):
    """Events of a client after a number, oldest first."""

    items: list[OwnEvent]
    last: int = Field(description="ask for what comes after this number next")


class UploadPart(Output):
    """A part that is there."""

    number: int
    size: int
    sha256: Sha256


class Upload(Output):
    """A file that comes in parts. `complete`: it is stored, and there is nothing to send."""

    id: Id | None
    sha256: Sha256
    size: int
    complete: bool
    part_size: int | None = Field(description="bytes of every part but the last")
    parts: int = Field(description="how many there must be; numbers begin with 1")
    received: list[UploadPart]
    expires_at: Time | None


class Certificate(Output):
    """What was done about one request."""

    uuid: Id
    request: Id
    window: Id
    complete: bool
    ref: Ref


class Proof(Output):
    """A proof and its verdict."""

    uuid: Id
    order: Id
    client: Id
    attempt: int
    bundle_sha256: Sha256
    ref: Ref
    verdict: Verdict | None


class Export(Output):
    """An audit report: how far it is, and what the log says of it."""

    uuid: Id
    scope: Literal["request", "window", "client", "period"]
    about: Id | None
    since: Time | None
    until: Time | None
    format: Literal["pdf", "json", "csv"]
    personal_data: bool
    reason: str
    asked_by: Actor
    created_at: Time
    state: Literal["queued", "running", "done", "failed"]
    progress: float = Field(description="0 to 1")
    message: str
    error: str
    job: Id
    entry: Ref | None = Field(description="the report statement, once it is made")
    sha256: str
    size: int | None
    expires_at: Time | None = Field(description="the file is destroyed then, or when a person is erased")
    available: bool = Field(description="whether there is a file to fetch")


class ExportLink(Output):
    """Where the file is for some minutes; opens without logging in, while its account may have it."""

    url: Url
    expires_at: Time
    sha256: Sha256
