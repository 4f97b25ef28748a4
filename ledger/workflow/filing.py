"""Filing deletion requests, one or many: checked, sealed, and a salted commitment logged.

Many are filed a few hundred at a time: one transaction holds the log's lock, and everything of those requests lands
in it or nothing. What is wrong with one of them does not touch the others.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import keys, log, pseudonyms, vault
from ledger.models import DeletionRequest, RegulationTerms, SubjectRecord
from ledger.statements import canonical, lifecycle, predicates
from ledger.statements import keys as key_format
from ledger.statements.deadlines import acknowledge_by, due_at
from ledger.statements.statement import sign_statement
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record_many
from ledger.workflow.references import Preview, Reference, full_reference, overlap, preview
from ledger.workflow.step import exclusive
from ledger.workflow.terms import periods, policy, terms_row

SALT_BYTES: Final = 32
MAX_CALLBACKS: Final = 5
MAX_AGE_YEARS: Final = 10


@dataclass(frozen=True)
class Filing:
    """What somebody files. `allow_duplicate` is a code of `lifecycle.DUPLICATE`, or empty."""

    regulation: str
    subject: str
    forget: Mapping[str, Any]
    received_at: datetime | None = None
    subject_request_id: uuid.UUID | None = None
    status_callback_urls: Sequence[str] = ()
    allow_duplicate: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one filing: a request, made now or before, or a refusal."""

    request: uuid.UUID | None = None
    created: bool = False
    refusal: WorkflowError | None = None


@dataclass
class _Checked:
    """A filing that is well-formed."""

    filing: Filing
    reference: Reference
    received_at: datetime
    terms: RegulationTerms
    subject_key: str
    content_key: str
    name: uuid.UUID = field(default_factory=uuid.uuid4)
    matches: int | None = None
    duplicate_of: uuid.UUID | None = None


@exclusive
def file_many(filings: Sequence[Filing], *, actor: Actor, dry_run: bool = False) -> list[Outcome]:
    """File all that can be filed, in one transaction; what happened to each, in order.

    A filing that was filed before, by its subject_request_id or else by content and time of receipt, is not filed
    again. With `dry_run` nothing is filed: `created` then says what would be.
    """
    hashes = pseudonyms.current()
    batch = _Batch(hashes)
    outcomes = batch.check(filings)
    if batch.new and not dry_run:
        hashes.keep()
        _store(list(batch.new.values()), actor)
    return outcomes


class _Batch:
    """Decides what to do with each filing, with few questions to the database."""

    def __init__(self, hashes: pseudonyms.Pseudonyms) -> None:
        self._hashes = hashes
        self._previews: dict[bytes, Preview | WorkflowError] = {}
        self._terms: dict[str, RegulationTerms] = {}
        self.new: dict[uuid.UUID, _Checked] = {}
        self._known_id: dict[uuid.UUID, tuple[uuid.UUID, str]] = {}
        self._known_content: dict[tuple[str, datetime], uuid.UUID] = {}
        self._live: defaultdict[str, list[tuple[uuid.UUID, Reference]]] = defaultdict(list)

    def check(self, filings: Sequence[Filing]) -> list[Outcome]:
        """What becomes of each; fills `new`."""
        checked = [self._well_formed(filing) for filing in filings]
        self._look_up([each for each in checked if isinstance(each, _Checked)])
        return [each if isinstance(each, Outcome) else self._place(each) for each in checked]

    def _well_formed(self, filing: Filing) -> _Checked | Outcome:
        try:
            reference, received_at, matches = self._form(filing)
        except WorkflowError as error:
            return Outcome(refusal=error)
        content = {"regulation": filing.regulation, "subject": filing.subject, "forget": reference.json()}
        return _Checked(
            filing=filing,
            reference=reference,
            received_at=received_at,
            terms=self._terms[filing.regulation],
            subject_key=self._hashes.of_subject(filing.subject),
            content_key=self._hashes.of_content(content),
            matches=matches,
        )

    def _form(self, filing: Filing) -> tuple[Reference, datetime, int | None]:
        if filing.regulation not in self._terms:
            self._terms[filing.regulation] = terms_row(filing.regulation)
        received_at = (filing.received_at or timezone.now()).replace(microsecond=0)
        _check_subject(filing.subject)
        _check_time(received_at)
        _check_callbacks(filing.status_callback_urls)
        if filing.allow_duplicate and filing.allow_duplicate not in lifecycle.DUPLICATE:
            raise WorkflowError(
                "bad-reason",
                _("allowDuplicate is one of %(duplicate)s, got %(allow_duplicate)s")
                % {
                    "duplicate": ", ".join(lifecycle.DUPLICATE),
                    "allow_duplicate": f"{filing.allow_duplicate!r:.80}",
                },
                422,
            )
        reference = Reference.parse(filing.forget)
        return reference, received_at, self._count(reference)

    def _count(self, reference: Reference) -> int | None:
        spelling = canonical.dumps(reference.json())
        if spelling not in self._previews:
            try:
                self._previews[spelling] = preview(reference)
            except WorkflowError as error:
                self._previews[spelling] = error
        found = self._previews[spelling]
        if isinstance(found, WorkflowError):
            raise found
        return found.matches

    def _look_up(self, checked: list[_Checked]) -> None:
        """What the database knows about these filings."""
        ids = {each.filing.subject_request_id for each in checked}
        known = DeletionRequest.objects.filter(subject_request_id__in=ids - {None})
        for number, name, content in known.values_list("subject_request_id", "uuid", "content_key"):
            if number is not None:
                self._known_id[number] = (name, content)
        found = DeletionRequest.objects.filter(content_key__in={each.content_key for each in checked})
        for content, received, name in found.values_list("content_key", "received_at", "uuid"):
            self._known_content[content, received] = name
        live = DeletionRequest.objects.filter(
            state__in=lifecycle.LIVE, subject_key__in={each.subject_key for each in checked}
        )
        for row in live.select_related("subject").order_by("filed_entry"):
            self._live[row.subject_key].append((row.uuid, full_reference(row)))

    def _place(self, one: _Checked) -> Outcome:
        number = one.filing.subject_request_id
        if number is not None and number in self._known_id:
            name, content = self._known_id[number]
            if content and content != one.content_key:
                return _refused(
                    "number-taken",
                    f"subjectRequestId {number} was used for request {name}, which says something else: "
                    "give a request a number of its own",
                )
            return Outcome(name)
        # Without a time of its own a filing is not the one before, even within a second.
        known = (one.content_key, one.received_at) if one.filing.received_at is not None else None
        if number is None and known in self._known_content:
            return Outcome(self._known_content[known])
        for name, reference in self._live[one.subject_key]:
            if overlap(reference, one.reference):
                if not one.filing.allow_duplicate:
                    return _refused(
                        "duplicate-request",
                        f"request {name} of the same person about the same data is under way: refer to that one, "
                        f"or file it with allowDuplicate, one of {', '.join(lifecycle.DUPLICATE)}",
                    )
                one.duplicate_of = name
                break
        self._remember(one)
        return Outcome(one.name, created=True)

    def _remember(self, one: _Checked) -> None:
        self.new[one.name] = one
        if one.filing.subject_request_id is not None:
            self._known_id[one.filing.subject_request_id] = (one.name, one.content_key)
        self._known_content[one.content_key, one.received_at] = one.name
        self._live[one.subject_key].append((one.name, one.reference))


def _store(new: list[_Checked], actor: Actor) -> None:
    """Leaves, sealed records, rows, events."""
    records = {one.name: _record(one) for one in new}
    key = keys.provider_key()
    signer = key_format.keyid(key)
    leaves = {name: log.Leaf.of(sign_statement(_said(by, records[name]), key), signer) for name, by in _named(new)}
    placed = log.write(leaves.values())
    indices = {name: placed[leaf.statement_sha256].index for name, leaf in leaves.items()}
    sealed = {name: vault.sealed(record) for name, record in records.items()}
    SubjectRecord.objects.bulk_create(sealed.values(), batch_size=500)
    rows = [_row(one, sealed[one.name], indices[one.name], actor) for one in new]
    # An original that comes in the same batch must be there first; rows are in the order of the filings.
    DeletionRequest.objects.bulk_create(rows, batch_size=500)
    record_many("request.filed", actor, indices)


def _named(new: Iterable[_Checked]) -> Iterable[tuple[uuid.UUID, _Checked]]:
    return ((one.name, one) for one in new)


def _record(one: _Checked) -> dict[str, Any]:
    # The salt is sealed as well: beside the log it would let a thief of the database try out names.
    return {
        "request": str(one.name),
        "subject": one.filing.subject,
        "forget": one.reference.json(),
        "regulation": one.filing.regulation,
        "salt": os.urandom(SALT_BYTES).hex(),
    }


def _said(one: _Checked, record: dict[str, Any]) -> predicates.DeletionRequest:
    committed = {name: value for name, value in record.items() if name != "salt"}
    salt, terms = bytes.fromhex(record["salt"]), periods(one.terms)
    return predicates.DeletionRequest(
        request=str(one.name),
        commitment=hashlib.sha256(salt + canonical.dumps(committed)).hexdigest(),
        regulation=one.filing.regulation,
        received_at=one.received_at,
        due_at=due_at(one.received_at, terms),
        terms=terms,
    )


def _row(one: _Checked, subject: SubjectRecord, index: int, actor: Actor) -> DeletionRequest:
    terms = periods(one.terms)
    return DeletionRequest(
        uuid=one.name,
        subject_request_id=one.filing.subject_request_id,
        regulation=one.filing.regulation,
        received_at=one.received_at,
        due_at=due_at(one.received_at, terms),
        acknowledge_by=acknowledge_by(one.received_at, terms),
        expires_at=_expires_at(one.terms),
        terms=terms.model_dump(mode="json", by_alias=True),
        policy=policy(one.terms),
        dataset=one.reference.dataset,
        forget=one.reference.public(),
        matches=one.matches,
        subject=subject,
        subject_key=one.subject_key,
        content_key=one.content_key,
        filed_by=f"{actor.kind}:{actor.id}",
        duplicate_of_id=one.duplicate_of,
        duplicate_reason=one.filing.allow_duplicate if one.duplicate_of else "",
        status_callback_urls=list(one.filing.status_callback_urls),
        filed_entry_id=index,
    )


def _expires_at(terms: RegulationTerms) -> datetime | None:
    # Counted from the filing: somebody who files what came in long ago has the time to identify the person.
    if not terms.identity_required or not terms.identity_days:
        return None
    return timezone.now() + timedelta(days=terms.identity_days)


def _check_subject(subject: str) -> None:
    if not 0 < len(subject.strip()) <= 1000:
        raise WorkflowError(
            "bad-subject",
            _("a subject reference has 1 to 1000 characters, got %(subject)s") % {"subject": len(subject)},
            422,
        )
    try:
        subject.encode()
    except UnicodeEncodeError as error:
        raise WorkflowError("bad-subject", _("a subject reference is text without lone surrogates"), 422) from error


def _check_time(received_at: datetime) -> None:
    if timezone.is_naive(received_at) or received_at > timezone.now():
        raise WorkflowError(
            "bad-time",
            _("receivedAt needs a zone and cannot lie ahead, got %(received_at)s") % {"received_at": received_at},
            422,
        )
    if received_at.year < timezone.now().year - MAX_AGE_YEARS:
        raise WorkflowError(
            "bad-time",
            _("receivedAt lies at most %(max_age_years)s years back, got %(received_at)s")
            % {"max_age_years": MAX_AGE_YEARS, "received_at": received_at},
            422,
        )


def _check_callbacks(urls: Sequence[str]) -> None:
    if len(urls) > MAX_CALLBACKS:
        raise WorkflowError(
            "bad-callback",
            _("got %(urls)s callback URLs, at most %(max_callbacks)s")
            % {"urls": len(urls), "max_callbacks": MAX_CALLBACKS},
            422,
        )
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.scheme != "https" or parts.username or parts.fragment or not url.isprintable():
            raise WorkflowError(
                "bad-callback",
                _("a callback is an https URL with a host and without user or fragment, got %(url)s")
                % {"url": f"{url!r:.200}"},
                422,
            )
        if len(url) > 2000:
            raise WorkflowError(
                "bad-callback",
                _("a callback URL has at most 2000 characters, got %(url)s") % {"url": len(url)},
                422,
            )


def _refused(code: str, sentence: str) -> Outcome:
    return Outcome(refusal=WorkflowError(code, sentence))
