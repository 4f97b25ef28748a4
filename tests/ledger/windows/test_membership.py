"""Which requests are in a window, and what keeps it from closing."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import log, models
from ledger.statements import predicates
from ledger.workflow import membership, policies, request_steps, requests, windows
from ledger.workflow.errors import WorkflowError
from tests.ledger.requests.parts import ANN, filed, holds, refused
from tests.ledger.story import Story, nobody
from tests.ledger.windows.parts import kinds, masked, second_model


def test_requests_go_in_and_out_while_it_is_open(story: Story) -> None:
    one, two, three = (story.approved_request(**{"class": n}) for n in (1, 2, 3))
    window = windows.open_window(story.model, None, [one.uuid], actor=ANN)
    membership.add_requests(window.uuid, [two.uuid, three.uuid, two.uuid], actor=ANN)
    membership.remove_requests(window.uuid, [one.uuid], actor=ANN)
    assert set(window.requests.all()) == {two, three}
    assert kinds(window=window.uuid) == ["window.opened", "window.changed", "window.changed"]
    closed = windows.close_window(window.uuid)
    assert closed.mask_config["forget"] == {"classes": [2, 3]}
    said = log.statement(closed.closed_entry).predicate  # type: ignore[arg-type]
    assert isinstance(said, predicates.WindowClose)
    assert {ref.index for ref in said.decisions} == {two.decision_entry_id, three.decision_entry_id}
    assert windows.open_window(second_model(story), None, [one.uuid]).requests.get() == one
    holds()


def test_never_again_once_it_is_closed(story: Story) -> None:
    window, other = masked(story), story.approved_request()
    with refused("not-open", 409):
        membership.add_requests(window.uuid, [other.uuid])
    with refused("not-open", 409):
        membership.remove_requests(window.uuid, [window.requests.get().uuid])
    with refused("not-open", 409):
        membership.discard_window(window.uuid)


def test_an_open_window_may_be_given_up(story: Story) -> None:
    request = story.approved_request()
    window = windows.open_window(story.model, None, [request.uuid])
    membership.discard_window(window.uuid, actor=ANN)
    assert not models.Window.objects.exists()
    assert windows.open_window(story.model, None, [request.uuid]).requests.get() == request
    holds()


def test_an_empty_window_does_not_close(story: Story) -> None:
    request = story.approved_request()
    window = windows.open_window(story.model, None, [request.uuid])
    membership.remove_requests(window.uuid, [request.uuid])
    with refused("no-requests", 409):
        windows.close_window(window.uuid)


def test_who_may_go_in(story: Story) -> None:
    window = windows.open_window(story.model, None, [story.approved_request().uuid])
    with refused("not-found", 404):
        membership.add_requests(window.uuid, [nobody()])
    with refused("not-found", 404):
        membership.remove_requests(window.uuid, [nobody()])
    denied = requests.decide_request(filed().uuid, "denied", "no-match")
    with refused("not-available", 409):
        membership.add_requests(window.uuid, [denied.uuid])
    held = request_steps.set_hold(filed(subject="Bob").uuid, "litigation")
    with refused("held", 409):
        membership.add_requests(window.uuid, [held.uuid])
    elsewhere = filed(forget={"dataset": "else", "class": 1})
    with refused("wrong-dataset", 422):
        membership.add_requests(window.uuid, [elsewhere.uuid])


def test_unresolved_requests_are_named(story: Story) -> None:
    good, held = story.approved_request(), story.approved_request()
    open_one, unknown = filed(subject="Ada"), filed(subject="Bob")
    request_steps.record_identity(open_one.uuid, "in-person", "verified")
    ids = [one.uuid for one in (good, held, open_one, unknown)]
    window = windows.open_window(story.model, None, ids)
    request_steps.set_hold(held.uuid, "litigation")
    with pytest.raises(WorkflowError) as caught:
        windows.close_window(window.uuid)
    assert caught.value.code == "unresolved-requests"
    for one, why in (
        (held, "under a legal hold"), (open_one, "undecided"), (unknown, "undecided, and nobody was identified"),
    ):  # fmt: skip
        assert f"request {one.uuid} is " in caught.value.sentence
        assert why in caught.value.sentence
    assert str(good.uuid) not in caught.value.sentence
    request_steps.lift_hold(held.uuid, "hold-ended")
    request_steps.revoke(open_one.uuid)
    requests.decide_request(unknown.uuid, "denied", "no-match")
    with pytest.raises(WorkflowError, match=f"{unknown.uuid} is denied"):
        windows.close_window(window.uuid)
    membership.remove_requests(window.uuid, [unknown.uuid])
    assert set(windows.close_window(window.uuid).requests.all()) == {good, held}
    holds()


def test_a_policy_is_frozen_when_the_window_closes(story: Story) -> None:
    policies.set_policy(None, {"quorumPercent": 80, "remindDaysBefore": [3], "maskConfig": {"budget": 0.2}})
    window = windows.open_window(story.model, {"seed": 5}, [story.approved_request().uuid], policy={"orderDays": 9})
    assert window.mask_config == {"budget": 0.2, "seed": 5}
    policies.set_policy(story.model.uuid, {"quorumPercent": 60, "coverage": "sampled(3)"}, actor=ANN)
    closed = windows.close_window(window.uuid)
    policies.set_policy(story.model.uuid, {"quorumPercent": 1})
    said = log.statement(closed.closed_entry).predicate  # type: ignore[arg-type]
    assert isinstance(said, predicates.WindowClose)
    assert said.policy is not None
    assert (said.policy.quorum_percent, said.policy.coverage, said.policy.order_days) == (60, "sampled(3)", 9)
    assert models.Window.objects.get().policy == said.policy.model_dump(mode="json", by_alias=True)
    policies.drop_policy(story.model.uuid)
    assert policies.effective(story.model).quorum_percent == 80
    with refused("not-found", 404):
        policies.drop_policy(story.model.uuid)
    holds()


@pytest.mark.parametrize(
    "values",
    [
        {"quorumPercent": 0}, {"quorumPercent": 101}, {"quorumPercent": 50.5}, {"coverage": "most"},
        {"orderDays": 0}, {"coverage": "sampled(0)"}, {"schedule": {}}, {"schedule": {"weekdays": [7]}},
        {"unknown": 1},
        {"schedule": {"everyDays": 7, "weekdays": [1]}}, {"schedule": {"everyDays": 7, "at": "24:00"}},
        {"schedule": {"everyDays": 7, "minRequests": 5, "maxRequests": 2}}, {"remindDaysBefore": [0]},
    ],
)  # fmt: skip
def test_bad_policies(story: Story, values: dict[str, Any]) -> None:
    with refused("bad-policy", 422):
        policies.set_policy(None, values)


def test_a_single_window_does_not_have_a_schedule(story: Story) -> None:
    request = story.approved_request()
    with refused("bad-policy", 422):
        windows.open_window(story.model, None, [request.uuid], policy={"schedule": None})
