"""Reports: asked for, watched while they are made, fetched by a link that ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import texts
from ledger.access import session
from ledger.admin import deeds
from ledger.admin.base import AddByUseCase, UseCaseForm, each, entry_link
from ledger.models import Export, Job
from ledger.workflow import exports


class ExportForm(UseCaseForm):
    """What a report is about, in which form, and whether it names persons."""

    scope = forms.ChoiceField(choices=texts.of_field(Export, "scope"), label=_("About"))
    about = forms.UUIDField(
        required=False, label=_("Its UUID"), help_text=_("of the request, window or client; empty for a period")
    )
    since = forms.DateTimeField(
        required=False, label=_("From"), help_text=_("UTC; of a period only, as 2026-01-31 00:00")
    )
    until = forms.DateTimeField(
        required=False, label=_("Up to"), help_text=_("UTC, not included; of a period only")
    )
    form = forms.ChoiceField(choices=texts.of_field(Export, "form"), label=_("Format"))
    personal_data = forms.BooleanField(
        required=False, label=_("With personal data"),
        help_text=_("names who asked: needs that permission, a reason, and that you show once more who you are"),
    )  # fmt: skip
    reason = forms.ChoiceField(
        required=False,
        choices=[("", "–"), *texts.choices("access")],
        help_text=_("why persons are named; the code goes into the log with the report's digest"),
    )

    class Meta:
        model = Export
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> Export:
        if values["personal_data"] != bool(values["reason"]):
            raise ValidationError(gettext("a report that names persons needs a reason, others have none"))
        if values["personal_data"] and not self.user.has_perm(exports.REVEAL):
            raise ValidationError(gettext("naming persons needs the permission to see who asked"))
        return exports.request_export(
            values["scope"],
            values["form"],
            actor=self.actor,
            about=values["about"],
            since=values["since"],
            until=values["until"],
            reason=values["reason"],
        )


@admin.register(Export)
class ExportAdmin(AddByUseCase):
    live = True
    use_case_form = ExportForm
    list_display = ["short", "about_link", "form", "personal_data", "state", "actor_name", "created_at", "logged"]
    list_filter = ["scope", "form", "personal_data", "created_at"]
    search_fields = ["uuid", "about", "actor_name", "sha256"]
    search_help_text = _("UUID of the report or of what it is about, who asked for it, or the file's SHA-256")
    list_select_related = ["file"]
    fields = [
        "uuid", "about_link", "form", "personal_data", "reason_words", "actor_name", "created_at", "logged",
        "sha256", "size", "expires_at",
    ]  # fmt: skip
    actions = ["fetch"]
    logged = entry_link("entry", _("log entry"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Export]:
        job = Job.objects.filter(kind=Job.Kind.EXPORT, target=OuterRef("pk"))
        columns = {f"job_{name}": Subquery(job.values(name)) for name in ("state", "progress", "message", "error")}
        return super().get_queryset(request).annotate(**columns)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponseBase:
        """Persons are named for somebody who has just shown who they are."""
        if request.method == "POST" and request.POST.get("personal_data"):
            way = session.prove(request, request.get_full_path())
            if way is not None:
                return way
        answer: HttpResponseBase = super().add_view(request, form_url, extra_context)
        return answer

    def response_add(self, request: HttpRequest, obj: Export, post_url_continue: str | None = None) -> HttpResponse:
        """To the report's page, where it is seen being made."""
        return HttpResponseRedirect(reverse("admin:ledger_export_change", args=[obj.pk]))

    def beside(self, request: HttpRequest, row: Export) -> dict[str, Any]:
        return super().beside(request, row) | {"report": how_far(row)}

    @admin.display(description=_("report"), ordering="uuid")
    def short(self, row: Export) -> str:
        return str(row.uuid)[:8]

    @admin.display(description=_("about"), ordering="scope")
    def about_link(self, row: Export) -> str:
        if row.about is None:
            return f"{row.since:%Y-%m-%d %H:%M} – {row.until:%Y-%m-%d %H:%M} UTC"
        page = reverse(f"admin:ledger_{deeds.REPORTED[row.scope]}_change", args=[row.about])
        return format_html('<a href="{}">{} {}</a>', page, row.get_scope_display(), str(row.about)[:8])

    @admin.display(description=_("state"))
    def state(self, row: Any) -> str:
        return str(how_far(row)["words"])

    @admin.display(description=_("reason"))
    def reason_words(self, row: Export) -> str:
        return texts.meaning("access", row.reason) or "–"

    @admin.action(description=_("Make a link to the file"), permissions=["view"])
    def fetch(self, request: HttpRequest, rows: QuerySet[Export]) -> HttpResponse:
        """On a page that no cache keeps: whoever has the link has the file."""
        links: list[tuple[Export, str]] = []
        each(request, rows, lambda row: links.append((row, exports.link(row, request.user))), gettext("link made"))
        shown = [(row, request.build_absolute_uri(f"/api/v1/exports/files/{token}")) for row, token in links]
        until = timezone.now() + timedelta(seconds=settings.LEDGER_EXPORT_LINK_SECONDS)
        context = {
            **self.admin_site.each_context(request), "title": _("Links to reports"), "links": shown, "until": until,
            "opts": self.opts,
        }  # fmt: skip
        page = TemplateResponse(request, "admin/ledger/export_links.html", context)
        page["Cache-Control"] = "no-store"
        return page


def how_far(row: Any) -> dict[str, Any]:
    """How far a report is, in words and figures; `row` comes with its job's columns."""
    percent = round(100 * (row.job_progress or 0))
    found = {"export": row, "percent": percent, "running": False, "error": "", "message": ""}
    if row.file is not None and row.file.erased_at is None:
        return found | {"words": gettext("ready"), "ready": True}
    if row.entry_id is not None:
        return found | {"words": gettext("file destroyed")}
    if row.job_state == Job.State.FAILED:
        return found | {"words": gettext("failed"), "error": row.job_error}
    if row.job_state == Job.State.RUNNING:
        words = gettext("being made, %(percent)d %%") % {"percent": percent}
        return found | {"words": words, "running": True, "message": row.job_message}
    return found | {"words": gettext("waits for a worker")}
