"""Deletion requests: filed, checked, approved or denied, extended, held, withdrawn, erased."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import lookup_field
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import texts
from ledger.access import scope, session
from ledger.admin import home
from ledger.admin import request_forms as ask
from ledger.admin.base import AddByUseCase, ReadOnlyAdmin, confirmed, each, entry_link, link, many
from ledger.admin.widgets import reason_form
from ledger.models import DeletionRequest, GlobalModel, LegalHold, SubjectAccess
from ledger.statements import lifecycle
from ledger.workflow import request_steps
from ledger.workflow.actors import officer
from ledger.workflow.erase import erase
from ledger.workflow.errors import WorkflowError
from ledger.workflow.requests import decide_request
from ledger.workflow.subject_access import reveal_subject
from ledger.workflow.windows import open_window

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

_LOOKING = _(
    "Each look is logged with its reason before anything is shown: when, at which request, and a commitment to who "
    "looked, which stands open in the list of subject accesses."
)
_ERASING = _(
    "The subject's sealed record is destroyed, with its key and salt, and a tombstone is logged. The entries of "
    "the request stay in the log and keep their proofs; nobody can tell any more whom they are about."
)
Values = dict[str, Any]


class LeftFilter(admin.SimpleListFilter):
    """Live requests by how long is left."""

    title = _("time left")
    parameter_name = "left"

    def lookups(self, _request: HttpRequest, _page: Any) -> list[tuple[str, Any]]:
        return [("late", _("overdue")), ("7", _("7 days or less")), ("14", _("14 days or less"))]

    def queryset(self, _request: HttpRequest, rows: QuerySet[DeletionRequest]) -> QuerySet[DeletionRequest]:
        value = self.value()
        if value not in {"late", "7", "14"}:
            return rows
        now = timezone.now()
        live = rows.filter(state__in=lifecycle.LIVE)
        if value == "late":
            return live.filter(due_at__lt=now)
        return live.filter(due_at__gte=now, due_at__lt=now + timedelta(days=int(value)))


@admin.register(DeletionRequest)
class DeletionRequestAdmin(AddByUseCase):
    use_case_form = ask.FilingForm
    tells = True
    list_display = [
        "short", "regulation", "state", "due_at", "days_left", "identified", "on_hold", "dataset", "what",
        "window_link", "filed",
    ]  # fmt: skip
    list_filter = ["state", LeftFilter, "regulation", "held", "verified", "due_at", "received_at", "dataset"]
    search_fields = ["uuid", "subject_request_id", "windows__uuid"]
    search_help_text = _("UUID of the request or its window, or your own number; who asked is sealed in the vault")
    date_hierarchy = "received_at"
    actions = [
        "acknowledge", "identify", "approve", "deny", "extend", "hold", "lift", "revoke", "open_window",
        "show_subject", "erase",
    ]  # fmt: skip
    fields = [
        "uuid", "subject_request_id", "regulation", "state", "received_at", "due_at", "days_left", "acknowledge_by",
        "acknowledged", "verified", "expires_at", "identity", "approved_by", "dataset", "forget", "matches",
        "reference", "duplicate_link", "held", "held_for", "extension", "extension_reason", "notified_at",
        "window_link", "filed", "decided", "decision_reason", "closed", "closure_reason", "certificate_link",
        "erased", "status_callback_urls",
    ]  # fmt: skip
    filed = entry_link("filed_entry", _("filed"))
    acknowledged = entry_link("acknowledged_entry", _("receipt confirmed"))
    extension = entry_link("extension_entry", _("extension"))
    decided = entry_link("decision_entry", _("decision"))
    closed = entry_link("closure_entry", _("closure"))
    erased = entry_link("erased_entry", _("tombstone"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeletionRequest]:
        return super().get_queryset(request).prefetch_related("windows")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Of a request, what has come about: most of its life is ahead of a new one."""
        names = super().get_fields(request, obj)
        return names if obj is None else [name for name in names if _has(self, obj, name)]

    @admin.display(description=_("request"), ordering="uuid")
    def short(self, row: DeletionRequest) -> str:
        return str(row.uuid)[:8]

    @admin.display(description=_("days left"), ordering="due_at")
    def days_left(self, row: DeletionRequest) -> str:
        return home.days(row.due_at, timezone.now()) if row.state in lifecycle.LIVE else "–"

    @admin.display(description=_("identified"), ordering="verified")
    def identified(self, row: DeletionRequest) -> str:
        return gettext("identified") if row.verified else "–"

    @admin.display(description=_("held"), ordering="held")
    def on_hold(self, row: DeletionRequest) -> str:
        return gettext("legal hold") if row.held else "–"

    @admin.display(description=_("forget"))
    def what(self, row: DeletionRequest) -> str:
        """What is to be forgotten, in words; samples and queries are in the vault."""
        if "class" in row.forget:
            return gettext("class %(class)s") % {"class": row.forget["class"]}
        if "classes" in row.forget:
            return gettext("classes %(classes)s") % {"classes": ", ".join(map(str, row.forget["classes"]))}
        return gettext("sealed samples")

    @admin.display(description=_("window"))
    def window_link(self, row: DeletionRequest) -> str:
        rows = ((link(window, str(window.pk)[:8]),) for window in row.windows.all())  # prefetched for lists
        return format_html_join(", ", "{}", rows) or "–"

    @admin.display(description=_("duplicate of"))
    def duplicate_link(self, row: DeletionRequest) -> str:
        return link(row.duplicate_of)

    @admin.display(description=_("certificate"))
    def certificate_link(self, row: DeletionRequest) -> str:
        rows = row.certificates.filter(supplement=None).select_related("request")
        return format_html_join(", ", "{}", ((link(one),) for one in rows)) or "–"

    @admin.display(description=_("identity checks"))
    def identity(self, row: DeletionRequest) -> str:
        return _lines(
            f"{texts.meaning('method', check.method)}: {gettext(check.result)} ({check.checked_at:%Y-%m-%d %H:%M})"
            for check in row.identity_checks.all()
        )

    @admin.display(description=_("approved by"))
    def approved_by(self, row: DeletionRequest) -> str:
        return _lines(f"{one.name} ({one.created_at:%Y-%m-%d %H:%M})" for one in row.approvals.all())

    @admin.display(description=_("legal holds"))
    def held_for(self, row: DeletionRequest) -> str:
        return _lines(_hold(hold) for hold in row.holds.all())

    @admin.action(description=_("Receipt was confirmed to the person"), permissions=["decide"])
    def acknowledge(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        way = many(self, request, rows, "acknowledge", {})
        if way is not None:
            return way
        actor = officer(request.user)
        each(request, rows, lambda row: request_steps.acknowledge(row.pk, actor=actor), _("receipt confirmed"))
        return None

    @admin.action(description=_("Record an identity check …"), permissions=["decide"])
    def identify(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "identify", ask.IdentityForm, _("Record an identity check"), _("recorded"),
            lambda row, v, actor: request_steps.record_identity(
                row.pk, v["method"], v["result"], v["detail"], actor=actor
            ),
        )  # fmt: skip

    @admin.action(description=_("Approve …"), permissions=["approve"])
    def approve(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "approve", ask.ApprovalForm, _("Approve"), _("approved"),
            lambda row, v, actor: decide_request(row.pk, "approved", v["reason"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Deny …"), permissions=["approve"])
    def deny(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "deny", reason_form("denial"), _("Deny"), _("denied"),
            lambda row, v, actor: decide_request(row.pk, "denied", v["reason"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Extend the due date …"), permissions=["decide"])
    def extend(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "extend", ask.ExtensionForm, _("Extend the due date"), _("extended"),
            lambda row, v, actor: request_steps.extend(row.pk, v["reason"], v["notified_at"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Set a legal hold …"), permissions=["decide"])
    def hold(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "hold", reason_form("hold"), _("Set a legal hold"), _("held"),
            lambda row, v, actor: request_steps.set_hold(row.pk, v["reason"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Lift the legal hold …"), permissions=["decide"])
    def lift(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "lift", reason_form("lift"), _("Lift the legal hold"), _("no longer held"),
            lambda row, v, actor: request_steps.lift_hold(row.pk, v["reason"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("The person has withdrawn …"), permissions=["decide"])
    def revoke(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        return self._ask(
            request, rows, "revoke", reason_form("revocation"), _("The person has withdrawn"), _("revoked"),
            lambda row, v, actor: request_steps.revoke(row.pk, v["reason"], actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Open a window for selected requests"), permissions=["decide"])
    def open_window(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> None:
        """One window for all of them, on the newest model of their dataset."""
        chosen = list(rows)
        models = scope.visible(
            request.user, GlobalModel.objects.filter(dataset=chosen[0].dataset, retired_entry=None)
        )
        model = models.order_by("-entry").first()
        if model is None:
            messages.error(
                request,
                _("no model has the dataset %(dataset)s: release one first") % {"dataset": repr(chosen[0].dataset)},
            )
            return
        try:
            window = open_window(model, None, [row.pk for row in chosen], actor=officer(request.user))
        except WorkflowError as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, format_html(gettext("opened {}"), link(window)))

    @admin.action(description=_("Show who asked …"), permissions=["reveal"])
    def show_subject(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        """On a page of its own: a message would lie in a cookie."""
        way = session.prove(request, request.get_full_path())
        if way is not None:
            return way
        answer = confirmed(
            self, request, rows, "show_subject", reason_form("access"), _("Show who asked"), _LOOKING
        )
        if isinstance(answer, HttpResponse):
            return answer
        shown: list[tuple[DeletionRequest, str]] = []
        actor = officer(request.user)
        each(
            request,
            rows,
            lambda row: shown.append((row, reveal_subject(row.pk, answer["reason"], actor=actor))),
            _("shown"),
        )
        context = {
            **self.admin_site.each_context(request),
            "title": _("Who asked"),
            "shown": shown,
            "opts": self.opts,
        }
        page = TemplateResponse(request, "admin/ledger/subjects.html", context)
        page["Cache-Control"] = "no-store"
        return page

    def has_reveal_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.reveal_deletionrequest"))

    @admin.action(description=_("Erase who asked, for good …"), permissions=["decide"])
    def erase(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        way = session.prove(request, request.get_full_path())
        if way is not None:
            return way
        return self._ask(
            request, rows, "erase", ask.ErasureForm, _("Erase who asked, for good"), _("erased"),
            lambda row, v, actor: erase(row.pk, v["reason"], actor=actor), _ERASING,
        )  # fmt: skip

    def _ask(
        self, request: HttpRequest, rows: QuerySet[DeletionRequest], action: str, form: type[forms.Form],
        title: StrOrPromise, done: StrOrPromise, use_case: Callable[[DeletionRequest, Values, Any], object],
        words: StrOrPromise = "",
    ) -> HttpResponse | None:  # fmt: skip
        """Ask for what the use case needs, then carry it out for each row."""
        answer = confirmed(self, request, rows, action, form, title, words)
        if isinstance(answer, HttpResponse):
            return answer
        actor = officer(request.user)
        way = many(self, request, rows, action, answer)
        if way is None:
            each(request, rows, lambda row: use_case(row, answer, actor), done)
        return way

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_deletionrequest"))

    def has_approve_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.decide_deletionrequest"))


def _hold(row: LegalHold) -> str:
    said = texts.meaning("hold", row.reason)
    return said if row.lifted_entry_id is None else f"{said} ({gettext('lifted')})"


def _has(page: Any, row: Any, name: str) -> bool:
    """Whether a row's page has something to show in a field."""
    return lookup_field(name, row, page)[2] not in (None, "", "–", [], {})


def _lines(lines: Any) -> SafeString | str:
    return format_html_join("", "{}<br>", ((text,) for text in lines)) or "–"


@admin.register(SubjectAccess)
class SubjectAccessAdmin(ReadOnlyAdmin):
    """Who was shown who asked, and why."""

    list_display = ["created_at", "request_link", "viewer_name", "reason", "logged"]
    list_filter = ["reason", "created_at"]
    search_fields = ["request__uuid", "viewer_name"]
    list_select_related = ["request"]
    fields = ["request_link", "viewer_name", "reason", "created_at", "viewer", "salt", "logged"]
    logged = entry_link("entry", _("log entry"))

    @admin.display(description=_("request"), ordering="request")
    def request_link(self, row: SubjectAccess) -> str:
        return link(row.request)
