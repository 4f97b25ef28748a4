"""Deletion requests, in the states of the Data Rights Protocol 1.0, and what is recorded about them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _

from ledger.models.log import append_only


class Regulation(models.TextChoices):
    """Under which law a request is made."""

    GDPR = "gdpr", "GDPR"
    UK_GDPR = "uk-gdpr", "UK GDPR"
    CCPA = "ccpa", "CCPA/CPRA"
    LGPD = "lgpd", "LGPD"
    OTHER = "other"


class RegulationTerms(models.Model):
    """Periods and policy of one regulation; an administrator may change them, for requests filed afterwards.

    What the periods mean: `ledger.statements.deadlines`. `ledger.workflow.terms` reads and writes them.
    """

    class Notice(models.TextChoices):
        FIRST_PERIOD = "in-first-period", "told to the person inside the first period"
        NONE = "none", "no notice needed"

    regulation = models.CharField(primary_key=True, max_length=10, choices=Regulation)
    months = models.PositiveSmallIntegerField(help_text="to answer, counted from the receipt; added to the days")
    days = models.PositiveSmallIntegerField()
    extension_months = models.PositiveSmallIntegerField(help_text="0 months and 0 days: no extension")
    extension_days = models.PositiveSmallIntegerField()
    notice = models.CharField(max_length=20, choices=Notice, help_text="what an extension needs")
    acknowledge_business_days = models.PositiveSmallIntegerField(
        help_text="to confirm the receipt, Monday to Friday, public holidays included; 0: not asked for"
    )
    identity_required = models.BooleanField(default=True, help_text="no approval before the person was identified")
    identity_days = models.PositiveSmallIntegerField(
        help_text="so many days after its filing an open request expires without identification; 0: never"
    )
    four_eyes = models.BooleanField(default=False, help_text="two officers must approve")
    exclude_filer = models.BooleanField(default=False, help_text="who filed a request does not approve it")

    class Meta:
        ordering = ["regulation"]
        verbose_name_plural = "regulation terms"

    def __str__(self) -> str:
        return _("terms of %(regulation)s") % {"regulation": self.get_regulation_display()}


class DeletionRequest(models.Model):
    """One person's request. Who asked, the samples that are named one by one, and the salts of commitments in the
    log are sealed in the vault.
    """

    Regulation = Regulation

    class State(models.TextChoices):
        OPEN = "open"
        IN_PROGRESS = "in_progress"
        FULFILLED = "fulfilled"
        DENIED = "denied"
        EXPIRED = "expired"
        REVOKED = "revoked"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject_request_id = models.UUIDField(
        null=True, blank=True, unique=True, help_text="the controller's own number of the request (OpenDSR)"
    )
    regulation = models.CharField(max_length=10, choices=Regulation)
    state = models.CharField(max_length=12, choices=State, default=State.OPEN, db_index=True)
    received_at = models.DateTimeField()
    due_at = models.DateTimeField()
    terms = models.JSONField(null=True, blank=True, help_text="periods as logged with the request; empty: by law")
    policy = models.JSONField(default=dict, help_text="identification and approval, as they were when it was filed")
    dataset = models.CharField(max_length=200, db_index=True)
    forget = models.JSONField(
        help_text='which data: {"dataset", "class" or "classes"}; where samples or a query are in the vault, '
        '{"dataset", "sealed"}'
    )
    subject = models.OneToOneField("ledger.SubjectRecord", models.PROTECT, related_name="request")
    subject_key = models.CharField(
        max_length=64, blank=True, default="", db_index=True,
        help_text="keyed hash of the subject, to find other requests of the same person; empty once erased",
    )  # fmt: skip
    content_key = models.CharField(
        max_length=64, blank=True, default="", db_index=True,
        help_text="keyed hash of what was filed, so that importing a file twice files once; empty once erased",
    )  # fmt: skip
    filed_by = models.CharField(max_length=80, blank=True, default="", help_text="kind:id of who filed it")
    duplicate_of = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="duplicates",
        help_text="an earlier request of the same person about the same data",
    )  # fmt: skip
    duplicate_reason = models.CharField(max_length=60, blank=True, default="")
    status_callback_urls = models.JSONField(default=list, blank=True)
    acknowledge_by = models.DateTimeField(null=True, blank=True)
    acknowledged_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    verified = models.BooleanField(default=False, help_text="what the last identity check said")
    expires_at = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="ends then, if it is still open and nobody was identified"
    )
    held = models.BooleanField(default=False, help_text="under a legal hold")
    extension_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    extension_reason = models.CharField(max_length=60, blank=True, default="")
    notified_at = models.DateTimeField(null=True, blank=True, help_text="when the person was told of the extension")
    filed_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    decision_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    closure_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    erased_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+",
        help_text="the tombstone: who asked was destroyed",
    )  # fmt: skip
    decision_reason = models.CharField(max_length=200, blank=True, default="")
    closure_reason = models.CharField(max_length=60, blank=True, default="")
    index = models.ForeignKey(
        "ledger.DatasetIndex", models.PROTECT, null=True, blank=True, related_name="requests",
        help_text="the sample index by which an approval found the samples",
    )  # fmt: skip
    matches = models.PositiveIntegerField(null=True, blank=True, help_text="samples to forget")
    reference = models.CharField(
        max_length=64, blank=True, default="", help_text="logged commitment to the samples"
    )
    frozen = models.OneToOneField(
        "ledger.SubjectRecord", models.PROTECT, null=True, blank=True, related_name="frozen_for",
        help_text="the samples as they were at approval, sealed",
    )  # fmt: skip
    fulfilled_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["due_at"]
        indexes = [
            models.Index(fields=["due_at", "-uuid"], name="requests_by_due_order"),
            models.Index(fields=["received_at"], name="requests_by_receipt"),
            models.Index(fields=["state", "due_at", "-uuid"], include=["received_at"], name="requests_by_state"),
            models.Index(
                fields=["regulation", "due_at", "-uuid"], include=["received_at"], name="requests_by_regulation"
            ),
        ]
        permissions = [
            ("decide_deletionrequest", "Can approve and deny deletion requests"),
            ("reveal_deletionrequest", "Can see who asked"),
        ]

    def __str__(self) -> str:
        return _("request %(uuid)s (%(state)s)") % {
            "uuid": self.uuid,
            "state": self.get_state_display(),
        }


class IdentityCheck(models.Model):
    """One try to find out who asks. Details of the person are sealed; they go when the request's subject goes."""

    class Result(models.TextChoices):
        VERIFIED = "verified"
        FAILED = "failed"

    request = models.ForeignKey(DeletionRequest, models.PROTECT, related_name="identity_checks")
    method = models.CharField(max_length=60)
    result = models.CharField(max_length=10, choices=Result)
    checked_at = models.DateTimeField()
    detail = models.OneToOneField(
        "ledger.SubjectRecord", models.PROTECT, null=True, blank=True, related_name="identity_check"
    )
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]

    def __str__(self) -> str:
        return f"{self.method}: {_(self.result)}"


class LegalHold(models.Model):
    """A time in which a request must not be carried out, nor its record erased."""

    request = models.ForeignKey(DeletionRequest, models.PROTECT, related_name="holds")
    reason = models.CharField(max_length=60)
    set_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    lifted_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    lift_reason = models.CharField(max_length=60, blank=True, default="")

    class Meta:
        ordering = ["set_entry"]
        constraints = [
            models.UniqueConstraint(
                fields=["request"], condition=models.Q(lifted_entry=None), name="one_hold_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return self.reason if self.lifted_entry_id is None else f"{self.reason} ({_('lifted')})"


class Approval(models.Model):
    """An officer's yes. The log learns of the decision that follows, and of no officer."""

    request = models.ForeignKey(DeletionRequest, models.PROTECT, related_name="approvals")
    officer = models.CharField(max_length=80, help_text="kind:id of who approved")
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["request", "officer"], name="one_approval_per_officer")]
        triggers = append_only()

    def __str__(self) -> str:
        return _("approved by %(name)s") % {"name": self.name}


class RequestImport(models.Model):
    """A file of requests. File and report may name people, so they are sealed, and go after some time."""

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        JSONL = "jsonl", "JSON lines"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    format = models.CharField(max_length=10, choices=Format)
    dry_run = models.BooleanField(default=False)
    lines = models.PositiveIntegerField(default=0, help_text="lines that hold a request")
    filed = models.PositiveIntegerField(default=0)
    already = models.PositiveIntegerField(default=0, help_text="filed before")
    refused = models.PositiveIntegerField(default=0)
    file = models.OneToOneField(
        "ledger.SubjectRecord",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="until read",
    )
    report = models.OneToOneField(
        "ledger.SubjectRecord", models.PROTECT, null=True, blank=True, related_name="+", help_text="line by line"
    )
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return _("import %(uuid)s of %(lines)s lines") % {"uuid": str(self.uuid)[:8], "lines": self.lines}
