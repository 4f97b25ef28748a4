"""Webhooks: everything that happened arrives once, signed, at those who may know; nothing is lost on the way."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from standardwebhooks.webhooks import WebhookVerificationError

from ledger import keys
from ledger.models import DeletionRequest, Event, WebhookDelivery, WebhookEndpoint
from ledger.statements import httpsig
from ledger.workflow import events, webhooks
from ledger.workflow.errors import WorkflowError
from tests.docs.fences import ROOT, blocks
from tests.ledger.story import Party, Story
from tests.ledger.test_api import expect_problem, officer, post, send
from tests.ledger.test_outbound import Receiver, receiver

__all__ = ["officer", "receiver"]
pytestmark = pytest.mark.django_db
State = WebhookDelivery.State


@pytest.fixture(autouse=True)
def _private_allowed(settings: Any) -> None:
    settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE = True


#: What docs/api.md tells receivers to do, by hand and with a library of the Standard Webhooks convention.
LIBRARY, BY_HAND = blocks(ROOT / "docs" / "api.md", "python")


def genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Both ways agree, or this raises."""
    given: dict[str, Any] = {"headers": headers, "body": body, "print": lambda *words: given.update(said=words)}
    exec(BY_HAND, given)
    good = bool(given["genuine"](secret, headers, body))
    try:
        exec(LIBRARY.replace("whsec_…", secret), given)
    except WebhookVerificationError:
        assert not good
    else:
        assert good
        assert given["said"] == (json.loads(body)["type"], json.loads(body)["data"])
    return good


def later(seconds: float = 0) -> None:
    """Let waiting deliveries become due."""
    WebhookDelivery.objects.filter(state=State.WAITING).update(next_at=timezone.now() - timedelta(seconds=seconds))


def test_an_event_arrives_signed_and_once(receiver: Receiver) -> None:
    events.record("order.issued")  # before the endpoint: not for it
    _, secret = webhooks.add_endpoint(receiver.url, ["order.met"])
    events.record("order.issued")
    wanted = events.record("order.met", data={"note": "internal"})
    assert [webhooks.fan_out(), webhooks.fan_out()] == [1, 0]
    assert [webhooks.deliver_due(), webhooks.deliver_due()] == [1, 0]
    ((_, headers, body),) = receiver.requests
    assert genuine(secret, headers, body)
    assert not genuine(secret, headers, body + b" ")
    assert not genuine(secret, headers | {"webhook-timestamp": "1"}, body)
    said = json.loads(body)
    assert (said["type"], said["data"]) == ("order.met", {"event": wanted.pk})
    row = WebhookDelivery.objects.get()
    assert (row.state, row.status, row.attempts, row.error) == (State.DELIVERED, 200, 1, "")


@pytest.mark.parametrize("days", [3, -3])
def test_a_sender_with_a_wrong_clock_neither_hurries_nor_forgets(
    receiver: Receiver, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks.add_endpoint(receiver.url)
    moment = timezone.now() + timedelta(days=days)
    with monkeypatch.context() as wrong:
        wrong.setattr(timezone, "now", lambda: moment)
        events.record("order.met")
        webhooks.fan_out()
        receiver.status = 500
        assert webhooks.deliver_due() > 0
        assert webhooks.deliver_due() == 0, "not before its time"
    later()
    receiver.status = 204
    assert webhooks.deliver_due() > 0


def test_it_is_tried_again_under_the_same_name_until_it_is_given_up(receiver: Receiver) -> None:
    webhooks.add_endpoint(receiver.url)
    webhooks.fan_out()
    webhooks.deliver_due()
    receiver.requests.clear()
    receiver.status = 500
    events.record("order.met")
    webhooks.fan_out()
    waits = []
    for _ in range(len(webhooks.DELAYS) + 1):
        before = timezone.now()
        assert webhooks.deliver_due() == 1
        row = WebhookDelivery.objects.get(kind="order.met")
        waits.append(row.next_at - before)
        assert webhooks.deliver_due() == 0, "not before its time"
        later()
    assert (row.state, row.status, row.attempts) == (State.FAILED, 500, len(webhooks.DELAYS) + 1)
    assert row.error == "answered 500, expected 2xx"
    assert all(low <= got <= low * 1.2 for low, got in zip(webhooks.DELAYS, waits, strict=False))
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    receiver.status = 204
    webhooks.replay(row)
    assert webhooks.deliver_due() == 1
    assert WebhookDelivery.objects.get(kind="order.met").state == State.DELIVERED


def test_a_sender_that_dies_loses_nothing(receiver: Receiver) -> None:
    webhooks.add_endpoint(receiver.url, ["order.met"])
    events.record("order.met")
    webhooks.fan_out()
    assert webhooks._claim() is not None  # and then its process was killed
    assert webhooks.deliver_due() == 0, "it is that sender's while the lease lasts"
    later()
    assert webhooks.deliver_due() == 1
    assert len(receiver.requests) == 1


def test_an_endpoint_that_fails_for_days_is_disabled_and_can_be_enabled(receiver: Receiver) -> None:
    row, _ = webhooks.add_endpoint(receiver.url, ["order.met"])
    receiver.status = 410
    for days in (0, 6):
        WebhookEndpoint.objects.exclude(failing_since=None).update(
            failing_since=timezone.now() - timedelta(days=days)
        )
        events.record("order.met")
        webhooks.fan_out()
        later()
        webhooks.deliver_due()
    row.refresh_from_db()
    assert row.disabled_at is not None
    assert Event.objects.filter(kind="webhook.disabled", data={"webhook": str(row.uuid)}).count() == 1
    events.record("order.met")
    later()
    assert (webhooks.fan_out(), webhooks.deliver_due()) == (0, 0)
    receiver.status = 200
    webhooks.enable(row)
    later()
    assert webhooks.fan_out() == 1, "what happened meanwhile is not lost"
    assert webhooks.deliver_due() == 3
    row.refresh_from_db()
    assert row.failing_since is None


def test_old_and_new_secret_sign_for_a_day(receiver: Receiver) -> None:
    row, old = webhooks.add_endpoint(receiver.url, ["order.met"])
    new = webhooks.rotate_secret(row)
    row.refresh_from_db()
    webhooks.send_test(row)
    webhooks.deliver_due()
    (_, headers, body) = receiver.requests[-1]
    assert genuine(old, headers, body)
    assert genuine(new, headers, body)
    delivery = WebhookDelivery.objects.latest("created_at")
    afterwards = webhooks.signatures(delivery, timezone.now() + webhooks.OVERLAP)
    assert len(afterwards.split(" ")) == 1


def test_a_client_hears_of_itself_only_and_touches_no_other_endpoint(
    story: Story, receiver: Receiver, officer: Browser
) -> None:
    mine, other = story.party("one"), story.party("two")
    made = add(mine, receiver)
    assert made.status_code == 201, made.content
    name = made.json()["uuid"]
    for path in ("", "/deliveries"):
        expect_problem(send("GET", f"/webhooks/{name}{path}", other), 404, "not-found")
        assert officer.get(f"/api/v1/webhooks/{name}{path}").status_code == 404
    expect_problem(send("DELETE", f"/webhooks/{name}", other), 404, "not-found")
    assert send("GET", "/webhooks", other).json() == {"webhooks": []}
    assert "secret" not in send("GET", f"/webhooks/{name}", mine).json()
    events.record("order.issued", client=other.uuid)
    events.record("window.closed")
    seen = events.record("order.issued", client=mine.uuid)
    webhooks.fan_out()
    webhooks.deliver_due()
    kinds = {json.loads(body)["data"].get("event") for _, _, body in receiver.requests}
    assert seen.pk in kinds
    assert all(json.loads(body)["data"]["client"] == mine.uuid for _, _, body in receiver.requests)
    assert send("DELETE", f"/webhooks/{name}", mine).status_code == 204


def test_officers_webhooks_over_the_wire(officer: Browser, receiver: Receiver) -> None:
    made = post(officer, "/webhooks", {"url": receiver.url, "kinds": ["order.met"]})
    assert made.status_code == 201
    name, secret = made.json()["uuid"], made.json()["secret"]
    assert post(officer, f"/webhooks/{name}/test").status_code == 202
    webhooks.deliver_due()
    (_, headers, body) = receiver.requests[-1]
    assert genuine(secret, headers, body)
    listed = officer.get(f"/api/v1/webhooks/{name}/deliveries?state=delivered").json()["items"]
    assert [item["kind"] for item in listed] == ["webhook.test"]
    assert post(officer, f"/webhooks/{name}/deliveries/{listed[0]['uuid']}/replay").status_code == 202
    assert post(officer, f"/webhooks/{name}/rotate").json()["secret"] != secret
    assert post(officer, f"/webhooks/{name}/enable").json()["disabledAt"] is None
    assert officer.delete(f"/api/v1/webhooks/{name}").status_code == 204
    expect_problem(post(officer, "/webhooks", {"url": receiver.url, "kinds": ["x"]}), 422, "unknown-kind")


def test_our_own_network_cannot_be_an_endpoint(officer: Browser, settings: Any) -> None:
    settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE = False
    expect_problem(post(officer, "/webhooks", {"url": "http://hooks.example/"}), 422, "bad-url")
    row, _ = webhooks.add_endpoint("https://metadata.example/latest/meta-data")
    webhooks.send_test(row)
    assert webhooks.deliver_due(resolver=lambda *_: ["169.254.169.254"]) == 1
    delivery = WebhookDelivery.objects.get(kind="webhook.test")
    assert delivery.state == State.WAITING
    assert "169.254.169.254, which is not a public address" in delivery.error


def test_a_status_callback_carries_the_providers_signature_and_nobodys_name(
    story: Story, receiver: Receiver
) -> None:
    webhooks.fan_out()
    request = DeletionRequest.objects.get(pk=story.approved_request().pk)
    DeletionRequest.objects.filter(pk=request.pk).update(status_callback_urls=[receiver.url])
    event = events.record("request.approved", request=request.pk)
    assert webhooks.fan_out() >= 1
    webhooks.deliver_due()
    said = {json.loads(body)["data"]["event"]: (headers, body) for _, headers, body in receiver.requests}
    headers, body = said[event.pk]
    version, _, signature = headers["webhook-signature"].partition(",")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    keys.provider_key().public_key().verify(base64.b64decode(signature), signed)
    assert version == "v1a"
    assert set(json.loads(body)["data"]) <= {"event", "request", "logIndex"}


def test_secrets_are_sealed(receiver: Receiver) -> None:
    row, secret = webhooks.add_endpoint(receiver.url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(e)::text FROM ledger_webhookendpoint e")
        rows = str(cursor.fetchall())
        cursor.execute("SELECT encode(ciphertext, 'escape') FROM ledger_subjectrecord")
        rows += str(cursor.fetchall())
    raw = base64.b64decode(secret[len("whsec_") :])
    assert secret not in rows
    assert base64.b64encode(raw).decode().rstrip("=") not in rows.replace("\\n", "")
    webhooks.remove_endpoint(row)
    assert row.secret.erased_at is not None


def test_there_is_an_end_to_endpoints(receiver: Receiver) -> None:
    for _ in range(webhooks.MOST_ENDPOINTS):
        webhooks.add_endpoint(receiver.url)
    with pytest.raises(WorkflowError, match="remove one first"):
        webhooks.add_endpoint(receiver.url)


def add(party: Party, receiver: Receiver) -> Any:
    """A client's POST: JSON, with an idempotency key that the signature covers."""
    url, body = "http://testserver/api/v1/webhooks", json.dumps({"url": receiver.url}).encode()
    kept = {"Idempotency-Key": f"key-{party.uuid}"}
    signed = httpsig.sign_request("POST", url, body, party.key, headers=kept)
    return Browser().generic(
        "POST", "/api/v1/webhooks", body, content_type="application/json", headers=signed | kept
    )
