"""Steps 1 to 8: reading a bundle, and what its statements say."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

from ledger.bundle import contents
from ledger.bundle.container import Container
from ledger.bundle.contents import Manifest
from ledger.bundle.errors import BundleFormatError
from ledger.statements import predicates as kinds
from ledger.statements.dsse import PAYLOAD_TYPE, Envelope
from ledger.statements.errors import RuleError, SignatureError, StatementError
from ledger.statements.keyring import KeyRing
from ledger.statements.keys import public_hex
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.rules import check
from ledger.statements.statement import Statement
from ledger.statements.story import Story
from ledger.tlog import multiproof
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import NoteError
from ledger.tlog.merkle import leaf_hash, verify_consistency
from ledger.tlog.note import NoteVerifier
from prover_worker.audit.helpers import Helpers
from prover_worker.audit.report import Report
from prover_worker.audit.signatures import Checker
from prover_worker.errors import AuditError

Kind = TypeVar("Kind", bound=Predicate)
#: With a member that is a new public key.
_BRINGING_KEYS: Final = {
    kinds.ClientEnrolment: "public_key", kinds.ClientKeyAddition: "public_key",
    kinds.ClientKeyRotation: "public_key", kinds.KeyRotation: "new_key",
}  # fmt: skip


@dataclass(frozen=True)
class Trust:
    """What the auditor brings: two public keys (None: those inside the bundle), witnesses, kept checkpoints."""

    log_vkey: str | None = None
    provider_key: str | None = None
    quorum: Quorum = field(default_factory=Quorum)
    kept: Sequence[str] = ()


class Entry(NamedTuple):
    """A statement at its place. Nothing about it is verified yet."""

    at: int
    hash: bytes
    envelope: Envelope
    said: Predicate


@dataclass
class Audit:
    """A bundle that is being checked: what has been established so far."""

    container: Container
    manifest: Manifest
    entries: list[Entry]
    consistency: dict[int, list[bytes]]
    trust: Trust
    report: Report
    ring: KeyRing = field(init=False)
    later: KeyRing = field(init=False)  # one that has passed all rotations: it opens any checkpoint
    head: Checkpoint = field(init=False)
    story: Story = field(default_factory=lambda: Story("the bundle", whole=False))
    _by_kind: defaultdict[type[Predicate], list[tuple[int, Any]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def statements(self) -> dict[int, Predicate]:
        """What every entry says, by log index."""
        return self.story.statements

    def of(self, kind: type[Kind]) -> Iterator[tuple[int, Kind]]:
        """All statements of a kind, in log order; when all were read."""
        if not self._by_kind:
            for index, predicate in self.story.statements.items():
                self._by_kind[type(predicate)].append((index, predicate))
        yield from self._by_kind.get(kind, ())

    def get(self, ref: LogRef, kind: type[Kind], by: str) -> Kind:
        """The statement that another one refers to. Raises AuditError."""
        try:
            return self.story.get(ref, kind, by)
        except RuleError as error:
            raise AuditError(str(error)) from error

    def blob(self, digest: str, what: str) -> bytes:
        """A file of the bundle, whose digest was checked. Raises AuditError where it is missing."""
        name = contents.FILES + digest
        if name not in self.container.members:
            raise AuditError(f"the bundle lacks {what}, SHA-256 {digest}")
        return self.container.read(name, contents.MAX_FILE_BYTES)


def open_bundle(
    file: BinaryIO, trust: Trust | None = None, report: Report | None = None, helpers: Helpers | None = None,
    when_read: Callable[[Audit], None] = lambda _audit: None,
) -> Audit:  # fmt: skip
    """Steps 1 to 8; `when_read` is called after step 1, with statements that nothing has checked yet.

    Raises BundleFormatError where the file is none, AuditError naming what does not hold first.
    """
    helpers = helpers or Helpers(1)
    signatures = Checker(helpers)
    with without_collections():
        audit = _read(file, trust or Trust(), report or Report(), signatures, helpers)
        when_read(audit)
        _check_head(audit)
        _check_inclusion(audit)
        _check_kept(audit)
        _check_statements(audit, signatures)
    return audit


def _read(file: BinaryIO, trust: Trust, report: Report, signatures: Checker, helpers: Helpers) -> Audit:
    """Step 1."""
    with report.step("bundle"):
        container = Container(file, contents.NAMES)
        _expect_names(container)
        for name in contents.FIXED:
            container.check(name)  # damage is called damage, before anything is made of it
        if container.read(contents.README, contents.MAX_TEXT_BYTES) != contents.README_TEXT.encode():
            raise BundleFormatError(f"the bundle's {contents.README} is not the one that bundles have")
        manifest = contents.parse_manifest(container.read(contents.MANIFEST, contents.MAX_TEXT_BYTES))
        consistency = contents.parse_consistency(container.lines(contents.CONSISTENCY, 10_000))
        lines = contents.parse_entries(container.lines(contents.ENTRIES, contents.MAX_LINE))
        helpers.start(container, container.members[contents.ENTRIES].size)
        signatures.know(trust.provider_key or manifest.provider_key)
        entries = [_entry(index, leaf, signatures) for index, leaf in lines]
        if len(entries) != manifest.entries:
            raise BundleFormatError(f"the manifest says {manifest.entries} entries, there are {len(entries)}")
        files = len(container.members) - len(contents.FIXED)
        report.say("bundle", f"{contents.FORMAT}, {_scope(manifest)}: {len(entries)} statements, {files} files")
        report.figures |= {"statements": len(entries), "files": files}
        return Audit(container, manifest, entries, consistency, trust, report)


def _expect_names(container: Container) -> None:
    names = list(container.members)
    fixed, files = names[: len(contents.FIXED)], names[len(contents.FIXED) :]
    missing = [name for name in contents.FIXED if name not in container.members]
    if missing:
        raise BundleFormatError(f"the bundle has no {missing[0]}")
    if fixed != list(contents.FIXED) or files != sorted(files):
        raise BundleFormatError("the bundle's files stand in another order than a bundle has")


def _scope(manifest: Manifest) -> str:
    scope = manifest.scope
    if isinstance(scope, contents.WindowScope):
        return f"window {scope.window}"
    return f"the period from log entry {scope.first} to {scope.last}"


def _entry(index: int, leaf: bytes, signatures: Checker) -> Entry:
    try:
        envelope = Envelope.from_leaf(leaf)
        said = Statement.decode(envelope.payload).predicate
    except StatementError as error:
        raise AuditError(f"log entry {index} is no statement of a ledger: {error}") from error
    brings = _BRINGING_KEYS.get(type(said))
    if brings is not None:
        signatures.know(getattr(said, brings))
    signatures.read(index, envelope)
    return Entry(index, leaf_hash(leaf), envelope, said)


def _check_head(audit: Audit) -> None:
    """Steps 2 and 3."""
    manifest, trust = audit.manifest, audit.trust
    with audit.report.step("checkpoint"):
        # Not verified yet: they lead from the trusted keys to the one that signed the checkpoint.
        rotations = [(e.at, e.envelope) for e in audit.entries if isinstance(e.said, kinds.KeyRotation)]
        log_key = public_hex(NoteVerifier.parse(trust.log_vkey or manifest.log_vkey).public_key)
        audit.ring = KeyRing.rooted(trust.provider_key or manifest.provider_key, log_key, rotations)
        audit.later = audit.ring.after(rotations)
        note = _note(audit)
        audit.head = audit.later.open_checkpoint(note, manifest.origin)
        if audit.head.size != manifest.size:
            raise AuditError(f"the manifest is about a checkpoint of size {manifest.size}, not {audit.head.size}")
        whose = "keys given" if trust.log_vkey and trust.provider_key else "keys from the bundle itself"
        audit.report.say("checkpoint", f"{audit.head.origin}, {audit.head.size} entries, signature good ({whose})")
    if whose != "keys given":
        audit.report.unchecked.append(
            "whose keys these are. They come from the bundle; compare them with what the provider publishes: "
            f"log {manifest.log_vkey}, provider {manifest.provider_key}"
        )
    with audit.report.step("witnesses"):
        times = trust.quorum.check(note)
        said = [f"{vkey.split('+')[0]} at {datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S} UTC"
                for vkey, t in sorted(times.items())]  # fmt: skip
        audit.report.figures["cosignatures"] = len(times)
        if trust.quorum.witnesses:
            audit.report.say("witnesses", "cosigned by " + ", ".join(said))
        else:
            audit.report.say("witnesses", "none were named", "not checked")
            audit.report.unchecked.append(
                "whether others are shown the same log. Name witnesses that you trust, or keep checkpoints"
            )


def _note(audit: Audit) -> str:
    try:
        return audit.container.read(contents.CHECKPOINT, contents.MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise NoteError(f"the checkpoint is not UTF-8: {error}") from error


def _check_inclusion(audit: Audit) -> None:
    """Step 4."""
    with audit.report.step("inclusion"):
        tree = list(contents.parse_tree(audit.container.lines(contents.TREE, 200)))
        leaves = [(entry.at, entry.hash) for entry in audit.entries]
        if not leaves:
            raise AuditError("the bundle holds no statement at all")
        root = multiproof.fold(leaves, tree, audit.head.size)
        if root != audit.head.root:
            raise AuditError(
                f"the statements do not stand in the log at their indices: they lead to root {root.hex()}, the "
                f"checkpoint has {audit.head.root.hex()}"
            )
        audit.report.say("inclusion", f"all {len(leaves)} statements stand in the log at their indices")


def _check_kept(audit: Audit) -> None:
    """Step 5."""
    sizes = []
    with audit.report.step("kept"):
        for note in audit.trust.kept:
            kept = audit.later.open_checkpoint(note, audit.head.origin)
            if kept.size > audit.head.size:
                raise AuditError(
                    f"you have kept a checkpoint of size {kept.size}, the bundle has {audit.head.size}: ask for "
                    "a newer bundle"
                )
            nodes = audit.consistency.get(kept.size)
            if nodes is None and kept.size != audit.head.size:
                raise AuditError(
                    f"the bundle does not show that checkpoint {kept.size}, which you kept, is its past: ask for "
                    f"one with earlier={kept.size}"
                )
            verify_consistency(kept.size, kept.root, audit.head.size, audit.head.root, nodes or [])
            sizes.append(kept.size)
        if sizes:
            audit.report.say("kept", f"the log has only grown since size {', '.join(map(str, sorted(sizes)))}")
            return
    audit.report.say("kept", "no earlier checkpoint was given", "not checked")
    audit.report.unchecked.append(
        "whether the log was rewritten since you last saw it. Give --checkpoint if you kept one"
    )


def _check_statements(audit: Audit, signatures: Checker) -> None:
    """Steps 6 to 8: one walk in log order, in which key ring and rules know what came before each entry."""
    report, step = audit.report, ""
    try:
        for entry in audit.entries:
            step = "signatures"
            _need(audit.ring, entry, signatures)
            audit.ring.admit(entry.at, entry.said)
            step = "events"
            check(audit.story, entry.at, entry.said)
            audit.story.add(entry.at, entry.hash, entry.said)
    except (StatementError, AuditError):
        _expect_signed(audit, signatures)  # what comes first in the log is named first
        with report.step(step):
            raise
    _expect_signed(audit, signatures)
    report.say("signatures", f"all {len(audit.entries)} are signed by whom they must be")
    report.say("events", "order and references are as the protocol has them")
    certificates = [said for _, said in audit.of(kinds.Certificate)]
    complete = sum(said.is_complete for said in certificates)
    policies = sorted({f"{one.coverage} coverage" for _, one in audit.of(kinds.Order)})
    detail = f"{len(certificates)} certificates, {complete} complete, agree with verdicts and quorum"
    report.say("policy", ", ".join([detail, *policies]))
    report.figures |= {"certificates": len(certificates), "completeCertificates": complete}


def _need(ring: KeyRing, entry: Entry, signatures: Checker) -> None:
    """What must have been signed by whom."""
    kind = entry.envelope.payload_type
    if kind != PAYLOAD_TYPE:
        raise AuditError(f"log entry {entry.at} has payloadType {kind!r}, not {PAYLOAD_TYPE!r}")
    signatures.need(entry.at, entry.envelope, ring.signers(entry.at, entry.said))


def _expect_signed(audit: Audit, signatures: Checker) -> None:
    bad = signatures.first_bad()
    if bad is None:
        return
    entry = next(one for one in audit.entries if one.at == bad)
    by = ", ".join(one.keyid or "(no key ID)" for one in entry.envelope.signatures)
    with audit.report.step("signatures"):
        raise SignatureError(
            f"log entry {bad} ({entry.said.slug}) is not signed by whom it must be: its signatures are by {by}, or "
            "of other bytes"
        )


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection while many small objects are made that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
