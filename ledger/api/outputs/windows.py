"""Answers about windows, orders as officers see them, policies and models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ledger.api.outputs.base import Id, Object, Output, Ref, Sha256, Time
from ledger.api.outputs.log import Model
from ledger.api.outputs.work import Event, Failure, Job, Objection


class WindowLine(Output):
    """A window in a list."""

    uuid: Id
    model: Id
    state: str
    created_at: Time
    closed: Ref | None
    mask: Ref | None


class OrderLine(Output):
    """An order in a list."""

    uuid: Id
    window: Id
    client: Id
    client_name: str
    state: str
    continuity: str
    attempt: int
    coverage: Any
    due_at: Time
    order: Ref
    objection: Objection | None


class Window(WindowLine):
    """A window with its policy, its orders and the progress of all jobs that serve it."""

    policy: Object
    mask_config: Object
    mask_sha256: Sha256 | None
    masked: int | None = Field(description="weights that the mask sets to zero")
    requests: list[Id]
    certificates: list[Ref]
    supplemented: list[Ref]
    orders: list[OrderLine]
    committed_after_mask: list[Id]
    jobs: list[Job]
    timeline: list[Event]


class Attempt(Output):
    """One claim of an order, and what became of it."""

    attempt: int
    claim: Ref
    late: bool
    challenge: Ref | None
    proof: Ref | None
    verdict: Ref | None
    accepted: bool | None
    failures: list[Failure]


class Notice(Output):
    """A step against silence."""

    key: str
    at: Time


class WindowOrder(OrderLine):
    """An order with its attempts and the steps that were taken against silence."""

    exception: Ref | None
    exception_reason: str | None
    attempts: list[Attempt]
    notices: list[Notice]
    timeline: list[Event]


class Suspension(Output):
    """A suspension: no more orders for a client."""

    client: Id
    reason: str
    order: Id | None
    suspended: Ref
    lifted: Ref | None
    lift_reason: str | None


class Policy(Output):
    """A policy as it counts, and whose it is."""

    source: Literal["model", "default", "built-in"]
    values: Object
    updated_at: Time | None


class GlobalModel(Model):
    """A global model with its policy."""

    name: str
    retired_reason: str | None
    policy: Policy
    batched_at: Time | None
