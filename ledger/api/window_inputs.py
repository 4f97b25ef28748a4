"""JSON bodies of what officers do with windows, orders, models and policies."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Field

from ledger.api.inputs import Input
from ledger.workflow.policies import MAX_REQUESTS


class NewWindow(Input):
    """POST /windows."""

    model: uuid.UUID
    requests: list[uuid.UUID] = Field(min_length=1, max_length=MAX_REQUESTS)
    mask_config: dict[str, Any] = {}
    policy: dict[str, Any] = {}


class Membership(Input):
    """POST and DELETE /windows/{id}/requests."""

    requests: list[uuid.UUID] = Field(min_length=1, max_length=MAX_REQUESTS)


class OfficersReason(Input):
    """A code for what is done, where an officer's word is the usual reason."""

    reason: str = "officer"
