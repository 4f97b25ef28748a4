"""What happened, one row each: the source of timelines, progress and webhooks. Evidence is the log alone."""

from __future__ import annotations

from typing import Final

from django.db import models

from ledger.models.log import append_only

#: Every kind of event there is, and what it means. Subscriptions name these.
KINDS: Final[dict[str, str]] = {
    "request.filed": "a deletion request was recorded",
    "request.acknowledged": "the person was told that the request has arrived",
    "request.identity-checked": "it was checked who asks",
    "request.approval-given": "one of several officers approved a request",
    "request.approved": "a request was approved",
    "request.denied": "an officer denied a request",
    "request.extended": "a request got more time",
    "request.held": "a legal hold was set",
    "request.hold-lifted": "a legal hold was lifted",
    "request.revoked": "the person withdrew a request",
    "request.expired": "nobody was identified in time, and the request ended",
    "request.subject-shown": "an officer was shown who asked",
    "request.erased": "what was known about who asked was destroyed",
    "requests.imported": "a file of requests was read",
    "terms.changed": "an administrator changed a regulation's periods or policy",
    "dataset.indexed": "a data set's samples were registered",
    "window.opened": "a window was opened for approved requests",
    "window.changed": "requests were put into an open window or taken out",
    "window.discarded": "an open window was given up",
    "window.closed": "a window's requests were fixed",
    "window.masked": "a window's mask was logged and its orders were issued",
    "window.certified": "a window's certificates were issued",
    "window.supplemented": "certificates of a certified window were brought up to date",
    "order.issued": "a client was ordered to unlearn",
    "order.claimed": "a client logged its unlearned model",
    "order.challenged": "a claim's challenge was drawn",
    "order.proved": "a client submitted its proofs",
    "order.objected": "a client said why it does not obey an order",
    "order.met": "a verdict accepted the proofs",
    "order.rejected": "a verdict rejected the proofs",
    "order.reminder": "a client that has not answered was reminded",
    "order.overdue": "an order's due date passed without an accepted answer",
    "order.escalated": "officers were told of a client that has not answered",
    "order.excepted": "an officer released a client from an order",
    "client.invited": "an officer invited a client",
    "client.enrolled": "a client's key was enrolled",
    "client.committed": "a client committed to a model",
    "client.suspended": "a client gets no more orders, because it does not comply",
    "client.reinstated": "a suspension was lifted",
    "model.retired": "a global model is out of use",
    "request.fulfilled": "every model that a request concerns was dealt with",
    "policy.changed": "an officer changed how windows of a model come about",
    "client.continuation-shown": "a proof that what was set to zero is still zero was accepted",
    "client.continuation-refuted": "such a proof was rejected",
    "client.token-issued": "an officer gave a client another enrolment token",
    "client.key-added": "a client added a key",
    "client.key-rotated": "a client replaced a key by a new one",
    "client.key-revoked": "a client's key was revoked, by the client or an officer",
    "client.model-retired": "a client put its copy of a model out of use",
    "client.retired": "an officer retired a client",
    "account.factor-added": "an officer added a second factor to their account",
    "account.factor-removed": "an officer gave up a second factor of their account",
    "account.factors-reset": "an administrator took all second factors from an account",
    "account.token-made": "an officer made an API token",
    "account.token-revoked": "an API token was revoked",
    "webhook.added": "an endpoint for events was added",
    "webhook.removed": "an endpoint for events was removed",
    "webhook.rotated": "an endpoint got a new secret",
    "webhook.enabled": "a disabled endpoint is tried again",
    "webhook.disabled": "an endpoint has not answered for days and is tried no more",
}


class Event(models.Model):
    """One thing that happened. Holds nothing personal about subjects; who acted is an officer or a client."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=60, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=200)
    request = models.UUIDField(null=True, blank=True, db_index=True)
    window = models.UUIDField(null=True, blank=True, db_index=True)
    order = models.UUIDField(null=True, blank=True, db_index=True)
    client = models.UUIDField(null=True, blank=True, db_index=True)
    model = models.UUIDField(null=True, blank=True, db_index=True)
    entry = models.ForeignKey("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="events")
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"
