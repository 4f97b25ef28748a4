"""JSON bodies of what officers do with deletion requests."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from ledger.api.inputs import Input


class Preview(Input):
    """POST /requests/preview."""

    forget: dict[str, Any]


class NewRequest(Input):
    """POST /requests."""

    regulation: str
    subject: str
    forget: dict[str, Any]
    received_at: datetime | None = None
    subject_request_id: uuid.UUID | None = None
    status_callback_urls: list[str] = []
    allow_duplicate: str = ""


class Identity(Input):
    """POST /requests/{id}/identity."""

    method: str
    result: str
    detail: str = ""


class Decision(Input):
    """POST /requests/{id}/decision."""

    decision: Literal["approved", "denied"]
    reason: str = ""


class Extension(Input):
    """POST /requests/{id}/extend."""

    reason: str
    notified_at: datetime | None = None


class Reason(Input):
    """A code for what is done: holding, lifting, erasing, excepting, retiring."""

    reason: str


class Revocation(Input):
    """POST /requests/{id}/revoke."""

    reason: str = "subject-withdrew"


class Terms(Input):
    """PATCH /regulations/{code}: what is given is changed."""

    months: int | None = None
    days: int | None = None
    extension_months: int | None = None
    extension_days: int | None = None
    notice: str | None = None
    acknowledge_business_days: int | None = None
    identity_required: bool | None = None
    identity_days: int | None = None
    four_eyes: bool | None = None
    exclude_filer: bool | None = None
