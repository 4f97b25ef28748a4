"""Periods and policy of the regulations: the table's rows, and what counts for one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _
from pydantic import ValidationError

from ledger.models import DeletionRequest, RegulationTerms
from ledger.models.requests import Regulation
from ledger.statements.deadlines import OTHER, expect_lawful, terms_by_law
from ledger.statements.errors import RuleError
from ledger.statements.predicates.deletion_request import Terms
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.step import exclusive

#: Days until an open request expires for want of identification, where nobody has configured others.
IDENTITY_DAYS: Final = {"gdpr": 30, "uk-gdpr": 30, "ccpa": 45, "lgpd": 15, "other": 30}
MAX_DAYS: Final = 3650
PERIODS: Final = tuple(Terms.model_fields)
POLICY: Final = ("identity_required", "identity_days", "four_eyes", "exclude_filer")


@dataclass(frozen=True)
class Policy:
    """What one request needs before it is approved."""

    identity_required: bool
    four_eyes: bool
    exclude_filer: bool


def terms_row(regulation: str) -> RegulationTerms:
    """The row of a regulation; what the law says where it was never changed. 422 for another regulation."""
    if regulation not in Regulation.values:
        known = ", ".join(Regulation.values)
        raise WorkflowError(
            "bad-regulation",
            _("got the regulation %(regulation)s, expected one of %(known)s")
            % {"regulation": repr(regulation), "known": known},
            422,
        )
    row = RegulationTerms.objects.filter(regulation=regulation).first()
    return row or default_row(regulation)


def default_row(regulation: str) -> RegulationTerms:
    """What the law says, not stored."""
    law = terms_by_law(regulation)
    return RegulationTerms(
        regulation=regulation, identity_days=IDENTITY_DAYS.get(regulation, OTHER.days), **law.model_dump()
    )


def periods(row: RegulationTerms) -> Terms:
    """The row's periods, as they are logged with a request."""
    return Terms(**{name: getattr(row, name) for name in PERIODS})


def policy(row: RegulationTerms) -> dict[str, Any]:
    """The row's policy, as it is kept with a request."""
    return {name: getattr(row, name) for name in POLICY}


def terms_of(request: DeletionRequest) -> Terms:
    """The periods that were logged with a request."""
    if request.terms is None:
        return terms_by_law(request.regulation)
    return Terms.model_validate(request.terms, by_alias=True, by_name=False)


def policy_of(request: DeletionRequest) -> Policy:
    """The stricter of the policy when it was filed and the one of today: nobody loosens it in between."""
    then, now = request.policy, terms_row(request.regulation)
    return Policy(
        identity_required=bool(then.get("identity_required")) or now.identity_required,
        four_eyes=bool(then.get("four_eyes")) or now.four_eyes or settings.LEDGER_FOUR_EYES,
        exclude_filer=bool(then.get("exclude_filer")) or now.exclude_filer,
    )


@exclusive
def change_terms(regulation: str, changes: Mapping[str, Any], *, actor: Actor = SYSTEM) -> RegulationTerms:
    """Change some fields of a regulation's terms, for requests filed from now on.

    Raises WorkflowError (422) for an unknown regulation or field, and for periods laxer than the law.
    """
    row = terms_row(regulation)
    unknown = sorted(set(changes) - set(PERIODS) - set(POLICY))
    if unknown:
        known = ", ".join((*PERIODS, *POLICY))
        raise WorkflowError(
            "bad-terms",
            _("got the field %(unknown)s, expected one of %(known)s")
            % {"unknown": repr(unknown[0]), "known": known},
            422,
        )
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, value)
    _expect_usable(row)
    row.save()
    record("terms.changed", actor=actor, data={"regulation": regulation, "before": before, "after": dict(changes)})
    return row


def _expect_usable(row: RegulationTerms) -> None:
    if not 0 <= row.identity_days <= MAX_DAYS:
        raise WorkflowError(
            "bad-terms",
            _("identityDays lies between 0 and %(max_days)s, got %(identity_days)s")
            % {"max_days": MAX_DAYS, "identity_days": row.identity_days},
            422,
        )
    try:
        expect_lawful(row.regulation, periods(row))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        sentence = f"{first['loc'][0]}: {first['msg']}, got {first['input']!r:.80}"
        raise WorkflowError("bad-terms", sentence, 422) from error
    except RuleError as error:
        raise WorkflowError("bad-terms", str(error), 422) from error
