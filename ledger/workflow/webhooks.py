"""Telling others what happened, by the Standard Webhooks convention (standardwebhooks.com, version 1.0).

An event becomes one delivery per endpoint that asks for its kind; rows are the truth, a message is never lost:

1. `fan_out` turns events after an endpoint's cursor into deliveries, cursor and deliveries in one transaction;
2. `deliver_due` claims a delivery by moving `next_at` ahead, a lease: a sender that dies leaves it due again;
3. a 2xx answer ends it. Anything else is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h,
   each with up to a tenth more; then it has failed;
4. an endpoint that has answered nothing well for five days is disabled, which is an event of its own.

`next_at` is a time of the database's clock: a sender whose own is wrong neither hurries nor forgets.

The body is {"type", "timestamp", "data"}; data holds identifiers and states, nothing about persons. The signature
is HMAC-SHA256 over `webhook-id.webhook-timestamp.body` under the endpoint's secrets (`v1`). A status callback that
a deletion request asked for has no secret and carries the provider's Ed25519 signature over the same (`v1a`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import random
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import keys, outbound, vault
from ledger.models import CallbackCursor, Client, DeletionRequest, Event, WebhookDelivery, WebhookEndpoint
from ledger.models.events import KINDS
from ledger.outbound import OutboundError, Resolver
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError

logger = logging.getLogger(__name__)

DELAYS: Final = tuple(
    timedelta(seconds=each)
    for each in (5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
LEASE: Final = timedelta(seconds=60)
OVERLAP: Final = timedelta(hours=24)  # an old secret goes on signing for so long
PATIENCE: Final = timedelta(days=5)
MOST_ENDPOINTS: Final = 20  # of the officers together, and of each client
TEST_KIND: Final = "webhook.test"
_BATCH: Final = 500


def add_endpoint(
    url: str, kinds: Sequence[str] = (), *, client: Client | None = None, actor: Actor = SYSTEM
) -> tuple[WebhookEndpoint, str]:
    """An endpoint that hears of events from now on, and its secret, which is shown this once.

    Raises WorkflowError (422) for an address or kind that cannot be, (409) for too many endpoints.
    """
    _check_url(url)
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise WorkflowError(
            "unknown-kind", _("there are no events of kind %(unknown)s") % {"unknown": f"{unknown[0]!r:.100}"}, 422
        )
    if WebhookEndpoint.objects.filter(client=client).count() >= MOST_ENDPOINTS:
        raise WorkflowError(
            "too-many-webhooks",
            _("there are %(most_endpoints)s endpoints already: remove one first")
            % {"most_endpoints": MOST_ENDPOINTS},
        )
    secret = _new_secret()
    with transaction.atomic():
        row = WebhookEndpoint.objects.create(
            client=client,
            url=url,
            kinds=sorted(set(kinds)),
            secret=vault.seal({"secrets": [{"secret": secret, "until": None}]}),
            last_event=_newest_event(),
        )
        _noted("webhook.added", row, actor)
    return row, secret


def find(owner: Client | None, webhook_id: uuid.UUID) -> WebhookEndpoint:
    """An endpoint of its owner (None: the officers). Raises WorkflowError (404) for everybody else's."""
    row = WebhookEndpoint.objects.filter(client=owner, pk=webhook_id).first()
    if row is None:
        raise WorkflowError(
            "not-found",
            _("there is no webhook %(webhook_id)s: check the identifier") % {"webhook_id": webhook_id},
            404,
        )
    return row


def remove_endpoint(row: WebhookEndpoint, *, actor: Actor = SYSTEM) -> None:
    """Forget an endpoint, its secret and its deliveries."""
    with transaction.atomic():
        _noted("webhook.removed", row, actor)
        row.delete()
        vault.erase(row.secret)


def rotate_secret(row: WebhookEndpoint, *, actor: Actor = SYSTEM) -> str:
    """A new secret, shown this once; the old one signs beside it for a day."""
    secret, now = _new_secret(), timezone.now()
    with transaction.atomic():
        locked = WebhookEndpoint.objects.select_for_update().get(pk=row.pk)
        until = (now + OVERLAP).isoformat()
        kept = [{"secret": old, "until": until} for old in _secrets(locked, now)[:1]]
        sealed, before = vault.seal({"secrets": [{"secret": secret, "until": None}, *kept]}), locked.secret
        locked.secret = sealed
        locked.save(update_fields=["secret"])
        vault.erase(before)
        _noted("webhook.rotated", locked, actor)
    return secret


def enable(row: WebhookEndpoint, *, actor: Actor = SYSTEM) -> WebhookEndpoint:
    """Try a disabled endpoint again, from the event at which it stopped."""
    row.disabled_at = row.failing_since = None
    row.save(update_fields=["disabled_at", "failing_since"])
    _noted("webhook.enabled", row, actor)
    return row


def send_test(row: WebhookEndpoint) -> WebhookDelivery:
    """A delivery that says nothing but that it is a test; sent like any other."""
    body = _body(TEST_KIND, timezone.now(), {})
    made = WebhookDelivery.objects.create(endpoint=row, url=row.url, kind=TEST_KIND, body=body, next_at=Now())
    made.refresh_from_db(fields=["next_at"])
    return made


def replay(delivery: WebhookDelivery) -> WebhookDelivery:
    """Send a delivery again under its old identifier, with all its attempts."""
    delivery.state, delivery.attempts = WebhookDelivery.State.WAITING, 0
    delivery.next_at, delivery.error = Now(), ""
    delivery.save()
    delivery.refresh_from_db(fields=["next_at"])
    return delivery


def fan_out() -> int:
    """Make deliveries of new events; returns how many. Safe to run anywhere, any number of times."""
    made = 0
    for pk in WebhookEndpoint.objects.filter(disabled_at=None).values_list("pk", flat=True):
        with transaction.atomic():
            row = WebhookEndpoint.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
            if row is not None:
                made += _fan_out_to(row)
    return made + _fan_out_callbacks()


def deliver_due(resolver: Resolver = outbound.resolve, most_seconds: float = 20.0) -> int:
    """Send what is due, for some seconds at most; returns how many attempts were made."""
    begun, tried = time.monotonic(), 0
    while time.monotonic() - begun < most_seconds:
        delivery = _claim()
        if delivery is None:
            break
        _attempt(delivery, resolver)
        tried += 1
    return tried


def signatures(delivery: WebhookDelivery, now: datetime) -> str:
    """The header webhook-signature: one signature per valid secret, or the provider's."""
    signed = f"msg_{delivery.uuid.hex}.{int(now.timestamp())}.{delivery.body}".encode()
    if delivery.endpoint is None:
        return "v1a," + base64.b64encode(keys.provider_key().sign(signed)).decode()
    made = []
    for secret in _secrets(delivery.endpoint, now):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        made.append("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode())
    return " ".join(made)


def _fan_out_to(row: WebhookEndpoint) -> int:
    newest = _newest_event()
    wanted = Event.objects.filter(pk__gt=row.last_event, pk__lte=newest).order_by("pk")
    if row.client_id is not None:
        wanted = wanted.filter(client=row.client_id)
    if row.kinds:
        wanted = wanted.filter(kind__in=row.kinds)
    found = list(wanted[:_BATCH])
    WebhookDelivery.objects.bulk_create([_delivery(event, row.url, row) for event in found], ignore_conflicts=True)
    row.last_event = found[-1].pk if len(found) == _BATCH else max(newest, row.last_event)
    row.save(update_fields=["last_event"])
    return len(found)


def _fan_out_callbacks() -> int:
    newest = _newest_event()
    CallbackCursor.objects.get_or_create(pk=1, defaults={"last_event": newest})
    with transaction.atomic():
        cursor = CallbackCursor.objects.select_for_update(skip_locked=True).first()
        if cursor is None:
            return 0  # another process is at it
        told = Event.objects.filter(pk__gt=cursor.last_event, pk__lte=newest, kind__startswith="request.")
        found = list(told.order_by("pk")[:_BATCH])
        about = DeletionRequest.objects.filter(pk__in={event.request for event in found if event.request})
        urls = dict(about.values_list("pk", "status_callback_urls"))
        made = [_delivery(event, url) for event in found for url in urls.get(event.request or uuid.UUID(int=0), [])]
        WebhookDelivery.objects.bulk_create(made, ignore_conflicts=True)
        cursor.last_event = found[-1].pk if len(found) == _BATCH else max(newest, cursor.last_event)
        cursor.save()
        return len(made)


def _delivery(event: Event, url: str, endpoint: WebhookEndpoint | None = None) -> WebhookDelivery:
    about = {
        name: str(getattr(event, name))
        for name in ("request", "window", "order", "client", "model")
        if getattr(event, name) is not None
    }
    data: dict[str, Any] = {"event": event.pk, **about}
    if event.entry_id is not None:
        data["logIndex"] = event.entry_id
    return WebhookDelivery(
        endpoint=endpoint,
        event=event,
        url=url,
        kind=event.kind,
        body=_body(event.kind, event.created_at, data),
        next_at=Now(),
    )


def _claim() -> WebhookDelivery | None:
    """Of several senders, the one whose UPDATE finds the old time has it."""
    due = WebhookDelivery.objects.filter(state=WebhookDelivery.State.WAITING, next_at__lte=Now())
    due = due.filter(endpoint__disabled_at=None).order_by("next_at")
    for row in due.select_related("endpoint__secret")[:20]:
        if WebhookDelivery.objects.filter(pk=row.pk, next_at=row.next_at, state=row.state).update(
            next_at=Now() + LEASE
        ):
            return row
    return None


def _attempt(delivery: WebhookDelivery, resolver: Resolver) -> None:
    begun = time.monotonic()
    status, error = None, ""
    try:
        status = outbound.post(
            delivery.url,
            delivery.body.encode(),
            _headers(delivery, timezone.now()),
            allow_private=settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE,
            resolver=resolver,
        )
    except (OutboundError, vault.VaultError) as problem:
        error = str(problem)
    delivery.attempts += 1
    delivery.status, delivery.seconds = status, round(time.monotonic() - begun, 3)
    if status is not None and 200 <= status < 300:
        delivery.state, delivery.error = WebhookDelivery.State.DELIVERED, ""
        if delivery.endpoint is not None:
            WebhookEndpoint.objects.filter(pk=delivery.endpoint.pk).update(failing_since=None)
    else:
        delivery.error = (error or f"answered {status}, expected 2xx")[:300]
        _plan_again(delivery)
    # The endpoint may have been removed meanwhile, and its deliveries with it: then this updates nothing.
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        **{name: getattr(delivery, name) for name in ("attempts", "status", "seconds", "state", "error", "next_at")}
    )


def _headers(delivery: WebhookDelivery, now: datetime) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": "unlearning-ledger",
        "webhook-id": f"msg_{delivery.uuid.hex}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures(delivery, now),
    }


def _plan_again(delivery: WebhookDelivery) -> None:
    now = timezone.now()
    if delivery.attempts > len(DELAYS):
        delivery.state = WebhookDelivery.State.FAILED
    else:
        delay = DELAYS[delivery.attempts - 1]
        delivery.next_at = Now() + delay * random.uniform(1.0, 1.1)  # noqa: S311 - spreads load, keeps no secret
    endpoint = delivery.endpoint
    if endpoint is None:
        return
    if endpoint.failing_since is None:
        WebhookEndpoint.objects.filter(pk=endpoint.pk, failing_since=None).update(failing_since=now)
    elif endpoint.failing_since < now - PATIENCE:
        with transaction.atomic():
            if WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at=None).update(disabled_at=now):
                _noted("webhook.disabled", endpoint, SYSTEM)


def _secrets(row: WebhookEndpoint, now: datetime) -> list[str]:
    """Valid secrets, the newest first."""
    kept: Iterable[dict[str, Any]] = vault.unseal(row.secret)["secrets"]
    return [each["secret"] for each in kept if each["until"] is None or datetime.fromisoformat(each["until"]) > now]


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _body(kind: str, when: datetime, data: dict[str, Any]) -> str:
    said = {"type": kind, "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "data": data}
    return json.dumps(said, separators=(",", ":"))


def _check_url(url: str) -> None:
    try:
        outbound.check_url(url, allow_private=settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE)
    except OutboundError as error:
        raise WorkflowError("bad-url", str(error), 422) from error


def _newest_event() -> int:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _noted(kind: str, row: WebhookEndpoint, actor: Actor) -> None:
    events.record(kind, actor=actor, client=row.client_id, data={"webhook": str(row.uuid)})
