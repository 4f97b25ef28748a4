"""A verdict in plain words: what was proved and what not, of how much, how sure that is, and under which SRS.

All figures come from the signed statement in the log, none from tables.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ledger import log
from ledger.models import VerdictRecord
from ledger.statements import coverage
from ledger.statements.predicates.verdict import Verdict
from ledger.workflow.certificates import (
    DOES_NOT_PROVE,
    PROVES,
    SAMPLE_DOES_NOT_PROVE,
    SAMPLE_PROVES,
)


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
        "verdict": row,
    }


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


def _how_sure(said: Verdict) -> list[str]:
    percent = f"{float(100 * Fraction(said.detection)):.4g}"
    lines = [
        _("Detection: a single dishonest chunk is caught with a chance of %(percent)s %%.") % {"percent": percent}
    ]
    lines += [
        _("From %(n)d dishonest chunks on, the chance is %(percent)s %% or more.")
        % {"n": one.chunks, "percent": f"{float(100 * Fraction(one.chance)):.4g}"}
        for one in said.caught
    ]
    return lines


def _srs(said: Verdict) -> str:
    if said.srs_provenance == "development":
        return _(
            "SRS: a development one. Whoever made it can forge proofs: good for trying things out, not as evidence."
        )
    return _("SRS: the file of a public ceremony, pinned by its SHA-256.")


def _failure(chunk: int | None, reason: str) -> tuple[str, str]:
    """Where it failed, and why: the reason is quoted from the log."""
    return _("the claim as a whole") if chunk is None else _("chunk %d") % chunk, reason
