"""Whatever an officer may do with windows, over REST and on the pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger import models
from ledger.workflow import windows
from tests.ledger.story import TOTAL, Party, Story, nobody
from tests.ledger.windows.parts import answered, masked, order_of, second_model

API = "/api/v1"


@pytest.fixture
def officer(db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    return browser


@pytest.fixture
def party(story: Story) -> Party:
    return story.party()


def call(officer: Browser, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    """The answer's JSON; the answer has this status."""
    send, more = (
        getattr(officer, method),
        {} if body is None else {"data": body, "content_type": "application/json"},
    )
    answer = send(f"{API}{path}", **more)
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def test_a_window_and_its_requests(story: Story, officer: Browser, party: Party) -> None:
    one, two = story.approved_request(), story.approved_request(**{"class": 2})
    body = {"model": str(story.model.uuid), "requests": [str(one.uuid)], "policy": {"coverage": "sampled(1)"}}
    window = call(officer, "post", "/windows", body, 201)["uuid"]
    path = f"/windows/{window}"
    shown = call(officer, "post", f"{path}/requests", {"requests": [str(two.uuid)]})
    assert shown["policy"]["coverage"] == "sampled(1)"
    shown = call(officer, "delete", f"{path}/requests", {"requests": [str(one.uuid)]})
    assert shown["requests"] == [str(two.uuid)]
    assert call(officer, "post", f"{path}/close")["state"] == "closed"
    assert call(officer, "delete", path, status=409)["type"].endswith("not-open")
    windows.publish_mask(window, b"mask", 2, TOTAL, {})
    story.party("late")
    shown = call(officer, "get", path)
    assert len(shown["committedAfterMask"]) == 1
    assert [event["kind"] for event in shown["timeline"]][:3] == [
        "window.opened", "window.changed", "window.changed",
    ]  # fmt: skip
    assert call(officer, "get", f"/requests/{two.uuid}")["windows"] == [window]
    draft = call(officer, "post", "/windows", {"model": str(story.model.uuid), "requests": [str(one.uuid)]}, 201)
    call(officer, "delete", f"/windows/{draft['uuid']}", status=204)


def test_windows_are_listed_and_filtered(story: Story, officer: Browser) -> None:
    first = masked(story)
    models.Window.objects.update(state="certified")
    second = masked(story)
    listed = call(officer, "get", "/windows?limit=1")
    assert [one["uuid"] for one in listed["items"]] == [str(second.uuid)]
    following = call(officer, "get", listed["next"].partition(API)[2])
    assert [one["uuid"] for one in following["items"]] == [str(first.uuid)]
    for query, found in (
        ("state=certified", first), (f"request={second.requests.get().uuid}", second), ("state=masked", second),
    ):  # fmt: skip
        assert [one["uuid"] for one in call(officer, "get", f"/windows?{query}")["items"]] == [str(found.uuid)]
    assert call(officer, "get", f"/windows?model={nobody()}")["items"] == []
    for wrong in ("state=lost", "model=x", "color=red", "limit=x"):
        assert call(officer, "get", f"/windows?{wrong}", status=422)["type"].endswith("bad-filter")


def test_orders(story: Story, officer: Browser, party: Party) -> None:
    other = story.party("other")
    window = masked(story, coverage="sampled(1)")
    answered(story, other, window, accepted=False)
    listed = call(officer, "get", f"/window-orders?window={window.uuid}&limit=1")
    assert call(officer, "get", listed["next"].partition(API)[2])["items"][0]["client"] == other.uuid
    assert len(call(officer, "get", "/window-orders?state=rejected")["items"]) == 1
    assert call(officer, "get", "/window-orders?escalated=true")["items"] == []
    order = order_of(window, party)
    path = f"/window-orders/{order.uuid}"
    assert [event["kind"] for event in call(officer, "post", f"{path}/remind")["timeline"]] == [
        "order.issued", "order.reminder",
    ]  # fmt: skip
    assert order.draw_secret not in str(call(officer, "get", path))
    assert call(officer, "post", f"{path}/except", {"reason": "x"}, 422)["type"].endswith("bad-reason")
    assert call(officer, "post", f"{path}/except", {"reason": "client-gone"})["state"] == "excepted"
    (attempt,) = call(officer, "get", f"/window-orders/{order_of(window, other).uuid}")["attempts"]
    assert (attempt["accepted"], attempt["late"]) == (False, False)
    suspended = call(officer, "post", f"/clients/{party.uuid}/suspend", {}, 201)
    assert (suspended["reason"], suspended["lifted"]) == ("officer", None)
    assert call(officer, "post", f"/clients/{party.uuid}/reinstate", {})["lifted"]


def test_policies_and_models(story: Story, officer: Browser) -> None:
    model = f"/models/{story.model.uuid}"
    assert call(officer, "get", "/policy")["source"] == "built-in"
    assert call(officer, "put", "/policy", {"quorumPercent": 90})["values"]["quorumPercent"] == 90
    assert call(officer, "get", f"{model}/policy")["source"] == "default"
    assert call(officer, "put", f"{model}/policy", {"schedule": {"everyDays": 7}})["source"] == "model"
    for wrong in ({"quorumPercent": 0}, []):
        assert call(officer, "put", f"{model}/policy", wrong, 422)["type"].endswith("bad-policy")
    call(officer, "delete", f"{model}/policy", status=204)
    call(officer, "delete", "/policy", status=204)
    call(officer, "delete", "/policy", status=404)
    other = second_model(story)
    assert len(call(officer, "get", "/models?dataset=digits")["items"]) == 2
    retired = call(officer, "post", f"/models/{other.uuid}/retire", {"reason": "withdrawn"})
    assert retired["retiredReason"] == "withdrawn"
    assert [one["name"] for one in call(officer, "get", "/models?retired=true")["items"]] == ["newer"]
    assert call(officer, "get", model)["retired"] is None


def test_only_officers(story: Story) -> None:
    for path in ("/windows", "/window-orders", "/models", "/policy", f"/models/{story.model.uuid}/policy"):
        call(Browser(), "get", path, status=401)


def act(browser: Browser, model: Any, action: str, row: Any, **answers: Any) -> str:
    """The page that follows an action on one row, with these answers to what it asks."""
    url = reverse(f"admin:ledger_{model._meta.model_name}_changelist")
    asked = {"action": action, "_selected_action": [str(row.pk)], "confirmed": "yes", **answers}
    return browser.post(url, asked, follow=True).content.decode()


def test_the_same_on_the_pages(story: Story, officer: Browser, party: Party) -> None:
    one, two = story.approved_request(), story.approved_request()
    window = windows.open_window(story.model, None, [one.uuid])
    assert "changed" in act(officer, models.Window, "put", window, requests=str(two.uuid))
    assert "changed" in act(officer, models.Window, "take", window, requests=str(one.uuid))
    assert list(window.requests.all()) == [two]
    assert "requests are free" in act(officer, models.Window, "discard", window)
    order = masked(story, two).orders.get()
    assert "reminded" in act(officer, models.Order, "remind", order)
    assert "suspended" in act(officer, models.Order, "suspend", order, reason="unanswered")
    suspension = models.Suspension.objects.get()
    assert "reinstated" in act(officer, models.Suspension, "reinstate", suspension, reason="officer")
    assert "excepted" in act(officer, models.Order, "release", order, reason="client-gone")
    page = officer.get(reverse("admin:ledger_order_change", args=[order.pk])).content.decode()
    assert "client-gone" in page
    add = reverse("admin:ledger_policy_add")
    assert "coverage" in officer.get(add).content.decode()
    officer.post(add, {"model": "", "values": '{"quorumPercent": 50}'})
    assert models.Policy.objects.get().values["quorumPercent"] == 50
    assert "dropped" in act(officer, models.Policy, "drop", models.Policy.objects.get())
    assert "certify it first" in act(officer, models.GlobalModel, "retire", story.model, reason="superseded")
