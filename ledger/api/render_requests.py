"""Deletion requests, imports and terms as JSON. Who asked stays in the vault."""

from __future__ import annotations

from typing import Any

from ledger import vault
from ledger.api.render import Json, event, ref, time
from ledger.models import DatasetIndex, DeletionRequest, Event, RegulationTerms, RequestImport
from ledger.workflow import imports
from ledger.workflow.imports import Summary
from ledger.workflow.references import Preview, full_reference
from ledger.workflow.requests import approvals_needed
from ledger.workflow.terms import periods, policy


def line(row: DeletionRequest) -> Json:
    """A request in a list. Samples and queries are sealed here; the request's own page has them."""
    return {
        "uuid": str(row.uuid),
        "subjectRequestId": None if row.subject_request_id is None else str(row.subject_request_id),
        "regulation": row.regulation,
        "state": row.state,
        "receivedAt": time(row.received_at),
        "dueAt": time(row.due_at),
        "acknowledgeBy": time(row.acknowledge_by),
        "acknowledged": row.acknowledged_entry_id is not None,
        "expiresAt": time(row.expires_at),
        "held": row.held,
        "verified": row.verified,
        "dataset": row.dataset,
        "forget": row.forget,
        "matches": row.matches,
        "windows": [str(window.pk) for window in row.windows.all()],
    }


def detail(row: DeletionRequest) -> Json:
    """A request as its page shows it, with everything that was recorded."""
    return line(row) | {
        "forget": _forget(row),
        "terms": row.terms,
        "filed": ref(row.filed_entry),
        "acknowledgement": ref(row.acknowledged_entry),
        "identity": {
            "verified": row.verified,
            "checks": [
                {
                    "method": check.method, "result": check.result, "checkedAt": time(check.checked_at),
                    "entry": ref(check.entry),
                }
                for check in row.identity_checks.select_related("entry")
            ],
        },
        "approvals": {
            "needed": approvals_needed(row),
            "given": [
                {"officer": approval.officer, "name": approval.name, "at": time(approval.created_at)}
                for approval in row.approvals.all()
            ],
        },
        "extension": _extension(row),
        "holds": [
            {
                "reason": hold.reason, "set": ref(hold.set_entry), "lifted": ref(hold.lifted_entry),
                "liftReason": hold.lift_reason or None,
            }
            for hold in row.holds.select_related("set_entry", "lifted_entry")
        ],
        "duplicateOf": None if row.duplicate_of_id is None else str(row.duplicate_of_id),
        "duplicateReason": row.duplicate_reason or None,
        "duplicates": [str(other.uuid) for other in row.duplicates.all()],
        "statusCallbackUrls": row.status_callback_urls,
        "decision": ref(row.decision_entry),
        "decisionReason": row.decision_reason,
        "reference": row.reference or None,
        "closure": ref(row.closure_entry),
        "closureReason": row.closure_reason or None,
        "erased": ref(row.erased_entry),
        "certificates": [
            {"ref": ref(one.entry), "window": str(one.window_id), "complete": one.complete}
            for one in row.certificates.filter(supplement=None).select_related("entry").order_by("entry")
        ],
        "fulfilled": ref(row.fulfilled_entry),
    }  # fmt: skip


def timeline(row: DeletionRequest) -> list[Json]:
    """What happened to a request, oldest first."""
    events = Event.objects.filter(request=row.uuid).select_related("entry").order_by("id")
    return [event(one) for one in events]


def preview(found: Preview) -> Json:
    """What a reference matches."""
    return {
        "forget": found.reference.json(),
        "matches": found.matches,
        "detail": found.sentence,
        "index": None if found.index is None else dataset(found.index),
    }


def dataset(row: DatasetIndex) -> Json:
    """A sample index, without its samples."""
    return {
        "dataset": row.name,
        "digest": row.digest,
        "samples": row.samples,
        "fields": row.fields,
        "registeredAt": time(row.created_at),
    }


def imported(row: RequestImport, summary: Summary | None = None) -> Json:
    """An import with its report: of each line what became of it."""
    lines: Any = imports.report_lines(row) if summary is None else [one.json() for one in summary.lines]
    return import_line(row) | {"report": lines}


def import_line(row: RequestImport) -> Json:
    """An import in a list."""
    return {
        "uuid": str(row.uuid),
        "createdAt": time(row.created_at),
        "officer": row.actor_name,
        "format": row.format,
        "dryRun": row.dry_run,
        "finishedAt": time(row.finished_at),
        "lines": row.lines,
        "filed": row.filed,
        "already": row.already,
        "refused": row.refused,
    }


def terms(row: RegulationTerms) -> Json:
    """Periods and policy of a regulation."""
    return {
        "regulation": row.regulation,
        "name": row.get_regulation_display(),
        **periods(row).model_dump(mode="json", by_alias=True),
        **{_camel(name): value for name, value in policy(row).items()},
    }


def _forget(row: DeletionRequest) -> Any:
    try:
        return full_reference(row).json()
    except vault.VaultError:  # erased
        return row.forget


def _extension(row: DeletionRequest) -> Json | None:
    if row.extension_entry is None:
        return None
    return {
        "entry": ref(row.extension_entry), "reason": row.extension_reason, "notifiedAt": time(row.notified_at),
    }  # fmt: skip


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
