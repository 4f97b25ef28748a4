"""What requests are filed by: regulations' terms, sample indexes of data sets, files of requests."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from ledger import texts
from ledger.admin.base import AddByUseCase, ReadOnlyAdmin, UseCaseForm
from ledger.models import DatasetIndex, RegulationTerms, RequestImport
from ledger.models.requests import Regulation
from ledger.workflow import import_lines, imports
from ledger.workflow.actors import SYSTEM, Actor, officer
from ledger.workflow.errors import WorkflowError
from ledger.workflow.terms import PERIODS, POLICY, change_terms, default_row

_SHOWN = 500  # lines of a report on a page


class TermsForm(forms.ModelForm):
    """Changed by the use case, which compares them with the law."""

    actor: Actor = SYSTEM

    class Meta:
        model = RegulationTerms
        fields = [*PERIODS, *POLICY]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                change_terms(self.instance.regulation, cleaned, actor=self.actor)
            except WorkflowError as error:
                raise ValidationError(error.sentence) from error
        return cleaned


@admin.register(RegulationTerms)
class RegulationTermsAdmin(ModelAdmin):
    form = TermsForm
    list_display = [  # the rest, and sentences, stand on each regulation's own page
        "regulation", "months", "days", "extension_months", "extension_days", "acknowledge_business_days",
        "identity_required", "four_eyes",
    ]  # fmt: skip
    readonly_fields = ["regulation"]
    fields = ["regulation", *PERIODS, *POLICY]
    actions = None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.actor = officer(request.user)  # a class of this call's own
        return form

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Regulations that nobody has changed are stored as the law has them, to be seen and changed here."""
        stored = set(RegulationTerms.objects.values_list("regulation", flat=True))
        missing = [default_row(regulation) for regulation in Regulation.values if regulation not in stored]
        RegulationTerms.objects.bulk_create(missing, ignore_conflicts=True)
        return super().changelist_view(request, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The use case has saved it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(DatasetIndex)
class DatasetIndexAdmin(ReadOnlyAdmin):
    list_display = ["name", "samples", "fields", "current", "digest", "created_at"]
    list_filter = ["current", "name"]
    search_fields = ["name", "digest"]


class ImportForm(UseCaseForm):
    """A file of requests."""

    format = forms.ChoiceField(choices=texts.of_field(RequestImport, "format"))
    upload = forms.FileField(label=_("File"), help_text=_("UTF-8; columns and members: see docs/formats.md"))
    dry_run = forms.BooleanField(required=False, help_text=_("only say what would happen to each line"))

    class Meta:
        model = RequestImport
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> RequestImport:
        if values["upload"].size > import_lines.MAX_BYTES:
            raise ValidationError(
                _("a file has at most %(max_bytes)s bytes, got %(size)s")
                % {"max_bytes": import_lines.MAX_BYTES, "size": values["upload"].size}
            )
        try:
            text = values["upload"].read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError(_("a file of requests is UTF-8 text: %(error)s") % {"error": error}) from error
        options = {"actor": self.actor, "dry_run": values["dry_run"]}
        if import_lines.count_lines(text) <= imports.AT_ONCE:
            return imports.import_now(text, values["format"], **options)[0]
        return imports.receive_import(text, values["format"], **options)


@admin.register(RequestImport)
class RequestImportAdmin(AddByUseCase):
    use_case_form = ImportForm
    list_display = [
        "uuid", "format", "dry_run", "created_at", "actor_name", "finished_at", "lines", "filed", "already",
        "refused",
    ]  # fmt: skip
    list_filter = ["format", "dry_run", "created_at"]
    search_fields = ["uuid", "actor_name"]
    fields = [
        "uuid", "format", "dry_run", "created_at", "actor_name", "finished_at", "lines", "filed", "already",
        "refused", "line_by_line",
    ]  # fmt: skip

    @admin.display(description=_("report"))
    def line_by_line(self, row: RequestImport) -> str:
        """Refused lines first."""
        lines = imports.report_lines(row)
        if lines is None:
            return gettext("destroyed") if row.finished_at else gettext("a worker is reading the file")
        chosen = sorted(lines, key=lambda line: (line["result"] != "refused", line["line"]))[:_SHOWN]
        rows = (
            (one["line"], gettext(one["result"]), one.get("detail") or one.get("request", "")) for one in chosen
        )
        more = gettext("and %(n)d more, see GET /api/v1/requests/imports/%(uuid)s") % {
            "n": len(lines) - len(chosen), "uuid": row.uuid,
        }  # fmt: skip
        table = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
        return format_html("<table>{}</table>{}", table, more if len(lines) > len(chosen) else "")
