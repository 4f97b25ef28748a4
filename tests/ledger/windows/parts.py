"""What the tests about windows and orders share."""

from __future__ import annotations

import hashlib
from typing import Any

from ledger import log, models
from ledger.statements import predicates
from ledger.statements.predicates.model_release import TargetTensor
from ledger.workflow import proofs, releases, windows
from tests.ledger.story import TOTAL, Party, Story, verdict


def second_model(story: Story, name: str = "newer", **changes: Any) -> models.GlobalModel:
    """Another model of the same data set, of the same shape."""
    path = story.folder / name
    path.write_bytes(name.encode())
    said = predicates.ModelRelease(
        name=name, file_sha256=hashlib.sha256(name.encode()).hexdigest(), architecture={"library": "timm"},
        targets=[TargetTensor(name="a", shape=[3, 4]), TargetTensor(name="b", shape=[8])], **changes,
    )  # fmt: skip
    return releases.register_model(said, path, "digits", {"budget": 0.1})


def masked(story: Story, *requests: models.DeletionRequest, model: Any = None, **policy: Any) -> models.Window:
    """A window with its mask and its orders."""
    chosen = requests or (story.approved_request(),)
    window = windows.open_window(model or story.model, None, [request.uuid for request in chosen], policy=policy)
    windows.close_window(window.uuid)
    return windows.publish_mask(window.uuid, b"mask" + window.uuid.bytes, 2, TOTAL, {"seed": 0})


def order_of(window: models.Window, party: Party) -> models.Order:
    return window.orders.get(client_model__client=party.row)


def answered(
    story: Story, party: Party, window: models.Window, *, accepted: bool = True, attempt: int = 1
) -> models.VerdictRecord:
    """The client answers its order, and the verdict is this."""
    proof = story.proved(party, order_of(window, party), attempt)
    return proofs.record_verdict(proof.uuid, verdict(accepted=accepted))


def said(row: Any) -> Any:
    """What a row's log entry says."""
    return log.statement(row.entry).predicate


def kinds(**about: Any) -> list[str]:
    """The kinds of events about something, in order."""
    return list(models.Event.objects.filter(**about).order_by("id").values_list("kind", flat=True))
