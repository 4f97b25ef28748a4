"""Verdicts and certificates in plain words: what was proved and what not, of how much, how sure, under which SRS.

All figures come from the signed statement in the log, none from tables; only clients' names do.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ledger import log
from ledger.models import Certificate, Client, VerdictRecord
from ledger.statements import coverage
from ledger.statements.predicates.certificate import MET, Outcome
from ledger.statements.predicates.certificate import Certificate as Signed
from ledger.statements.predicates.verdict import Verdict
from ledger.statements.predicates.window_outcomes import WindowOutcomes
from ledger.workflow import lists
from ledger.workflow.certificates import (
    DOES_NOT_PROVE,
    PROVES,
    SAMPLE_DOES_NOT_PROVE,
    SAMPLE_PROVES,
)

_NAMED: Final = 50  # clients; the log names all


def of_verdict(row: VerdictRecord) -> dict[str, Any]:
    """What the page of a verdict, or of the order that it judges, says first."""
    said = log.statement(row.entry).predicate
    assert isinstance(said, Verdict)
    claim = row.proof.claim
    who = {"client": claim.order.client_model.client.name, "attempt": claim.attempt}
    if said.result == "accepted":
        head = _("%(client)s has unlearned as ordered, and proved it (attempt %(attempt)d).") % who
    else:
        head = _("The proof of %(client)s was rejected (attempt %(attempt)d): the order is not met.") % who
    sampled = said.coverage != coverage.FULL
    accepted = said.result == "accepted"
    return {
        "good": accepted,
        "head": head,
        "lines": [*_how_much(said), *_how_sure(said), _srs(said)],
        "failed": [_failure(one.chunk, one.reason) for one in said.failures],
        "proves": (SAMPLE_PROVES if sampled else PROVES) if accepted else [],
        "does_not_prove": [*DOES_NOT_PROVE[:3], *([SAMPLE_DOES_NOT_PROVE] if sampled else [])] if accepted else [],
        "entry": row.entry_id,
    }


def of_certificate(row: Certificate) -> dict[str, Any]:
    """What the page of a certificate says first: of its clients too where the log lists them apart."""
    said = log.statement(row.entry).predicate
    assert isinstance(said, Signed)
    listed = [part for _index, part in lists.parts(said.outcomes_in) if isinstance(part, WindowOutcomes)]
    outcomes = [*said.outcomes, *(one for part in listed for one in part.outcomes)]
    others = [*said.not_ordered, *(one for part in listed for one in part.not_ordered)]
    if said.is_complete:
        head = _("What request %(request)s asks for was done with this model, and proved.")
    else:
        head = _("What request %(request)s asks for was not done by enough clients of this model.")
    waiting: dict[str, str] = {one.client: one.status for one in outcomes if one.status not in MET}
    waiting |= {one.client: one.reason for one in others}
    return {
        "good": said.is_complete,
        "head": head % {"request": said.request[:8]},
        "lines": [*_who(outcomes, said), *_place(row), *_whole(said), _srs(said)],
        "without": _named(waiting),
        "more": max(len(waiting) - _NAMED, 0),
        "proves": said.proves,
        "does_not_prove": said.does_not_prove,
        "entry": row.entry_id,
    }


def _who(outcomes: list[Outcome], said: Signed) -> list[str]:
    """How many clients had to, how many have, and how many would have been enough."""
    if not outcomes:
        return [_("Clients: none had a model to unlearn.")]
    counts = {
        "all": len(outcomes),
        "met": sum(one.status in MET for one in outcomes),
        "late": sum(one.status == "met-late" for one in outcomes),
        "percent": said.quorum_percent,
    }
    return [
        _("Clients that were ordered to unlearn: %(all)d. That have proved it: %(met)d, %(late)d of them late.")
        % counts,
        _("Enough are %(percent)d %% of those that were not excepted.") % counts,
    ]


def _place(row: Certificate) -> list[str]:
    """How it stands to other certificates about the same request."""
    lines = []
    if row.supplements_id is not None:
        lines.append(_("It brings an earlier certificate up to date: a client has complied after all."))
    if Certificate.objects.filter(supplements=row).exists():
        lines.append(_("A later certificate has brought it up to date: that one counts."))
    return lines


def _whole(said: Signed) -> list[str]:
    """Coverage and detection over all clients: the smallest of their figures."""
    if said.detection is None:
        return [_("No proof was accepted, so there is nothing that coverage or detection could be said of.")]
    if said.coverage == coverage.FULL:
        part = _("Coverage: full. Of every client that complied, all chunks that the mask touches were checked.")
    else:
        part = _("Coverage: sampled. Of every client that complied, drawn chunks were checked: %(rule)s.") % {
            "rule": said.coverage
        }
    return [part, *_how_sure(said)]


def _named(clients: dict[str, str]) -> list[tuple[str, str]]:
    """Names of clients that have not complied, with what became of their orders."""
    names = Client.objects.in_bulk(list(clients)[:_NAMED])
    words = {
        "rejected": _("the proof was rejected"), "unanswered": _("no answer"), "excepted": _("excepted"),
        "suspended": _("suspended, so it got no order"),
        "committed-after-mask": _("it joined after the mask, so it got no order"),
    }  # fmt: skip
    found = [(str(row), words[clients[str(key)]]) for key, row in names.items()]
    return sorted(found)


def latest(order: Any) -> dict[str, Any] | None:
    """The same for an order: of the newest verdict about it, None if there is none."""
    rows = VerdictRecord.objects.filter(proof__claim__order=order)
    row = rows.select_related("entry", "proof__claim__order__client_model__client").order_by("-entry").first()
    return None if row is None else of_verdict(row)


def _how_much(said: Verdict) -> list[str]:
    checked, untouched = said.proved_chunks, said.untouched_chunks
    touched = said.touched_chunks
    if touched is None or touched == checked:
        part = ngettext(
            "Coverage: full. The one chunk that the mask touches was checked",
            "Coverage: full. All %(n)d chunks that the mask touches were checked", checked,
        ) % {"n": checked}  # fmt: skip
    else:
        part = _("Coverage: sampled. Of %(all)d chunks that the mask touches, %(n)d were drawn and checked") % {
            "all": touched, "n": checked,
        }  # fmt: skip
    rest = ngettext(
        "%(n)d other was compared and must not have changed",
        "%(n)d others were compared and must not have changed",
        untouched,
    ) % {"n": untouched}  # fmt: skip
    return [f"{part}; {rest}."]


def _how_sure(said: Verdict | Signed) -> list[str]:
    percent = f"{float(100 * Fraction(said.detection or 0)):.4g}"
    lines = [
        _("Detection: a single dishonest chunk is caught with a chance of %(percent)s %%.") % {"percent": percent}
    ]
    lines += [
        _("From %(n)d dishonest chunks on, the chance is %(percent)s %% or more.")
        % {"n": one.chunks, "percent": f"{float(100 * Fraction(one.chance)):.4g}"}
        for one in said.caught
    ]
    return lines


def _srs(said: Verdict | Signed) -> str:
    if said.srs_provenance == "development":
        return _(
            "SRS: a development one. Whoever made it can forge proofs: good for trying things out, not as evidence."
        )
    return _("SRS: the file of a public ceremony, pinned by its SHA-256.")


def _failure(chunk: int | None, reason: str) -> tuple[str, str]:
    """Where it failed, and why: the reason is quoted from the log."""
    return _("the claim as a whole") if chunk is None else _("chunk %d") % chunk, reason
