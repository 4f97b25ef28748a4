"""Answers about the log, its releases and witnesses."""

from __future__ import annotations

from pydantic import Field

from ledger.api.outputs.base import Base64, Id, Object, Output, Ref, Sha256, Time


class Entry(Output):
    """A log entry."""

    index: int
    leaf_hash: Sha256
    predicate_type: str


class EntryLine(Entry):
    """A log entry in a list."""

    signer: str
    logged_at: Time


class FullEntry(Entry):
    """A leaf, and its inclusion proof in the latest checkpoint if that covers it."""

    envelope: Base64
    checkpoint: str | None = Field(description="signed note, C2SP tlog-checkpoint")
    proof: list[Base64] | None


class Rotation(Output):
    """A change of the log's or the provider's key."""

    index: int
    envelope: Base64


class Rotations(Output):
    """All changes of keys, oldest first."""

    rotations: list[Rotation]


class Consistency(Output):
    """That one published checkpoint extends another (RFC 9162 section 2.1.4)."""

    old: int
    new: int
    proof: list[Base64]


class Witness(Output):
    """A witness as it last answered."""

    name: str
    vkey: str
    state: str
    alarm: bool
    message: str
    size: int | None
    asked_at: Time | None
    cosigned_at: Time | None


class Witnesses(Output):
    """How far the log is published, and what its witnesses say."""

    quorum: int
    size: int
    published_size: int | None
    published_at: Time | None
    alarm: bool
    witnesses: list[Witness]


class LogCheck(Output):
    """A complete check of the log and of all tables against it."""

    started_at: Time
    seconds: float
    entries: int
    problem: str | None = Field(description="the first thing that is wrong; null: all is well")


class Health(Output):
    """Whether the log is in order."""

    size: int
    published_size: int | None
    published_at: Time | None
    alarm: bool = Field(description="a witness holds another history, or the last check found something")
    last_check: LogCheck | None


class LogName(Output):
    """The log's origin and its verifier key."""

    origin: str
    vkey: str


class Circuit(Output):
    """A circuit release and the digests of its files by role."""

    ref: Ref
    predicate: Object
    blobs: dict[str, Sha256]


class Model(Output):
    """A global model."""

    uuid: Id
    ref: Ref
    predicate: Object
    dataset: str
    total_weights: int
    blobs: dict[str, Sha256]
    supersedes: Id | None
    retired: Ref | None


class Releases(Output):
    """Whose signatures to expect, the current circuit release, all global models."""

    log: LogName
    provider_key: Sha256 = Field(description="Ed25519, raw, hex")
    circuit: Circuit | None
    models: list[Model]
