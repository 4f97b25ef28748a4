"""What all pages share: read-only rows, links between them, actions that report refusals in words."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import get_script_prefix, path, reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin, checkbox

from ledger.access import scope
from ledger.admin import deeds, empty, finding, live, spreadsheet, timeline, views
from ledger.admin.widgets import dress_all
from ledger.workflow import bulk
from ledger.workflow.actors import SYSTEM, Actor, officer
from ledger.workflow.errors import WorkflowError

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


_SOME: Final = "some-row"


@functools.cache
def _box(_language: str | None) -> str:
    return str(checkbox.render(ACTION_CHECKBOX_NAME, _SOME))


class ReadOnlyAdmin(ModelAdmin):
    """Rows are looked at, never edited: they come from the workflow only."""

    list_per_page = 50
    show_full_result_count = False
    paginator = finding.BothEnds
    exports = True
    tells = False  # whether a row's page ends with what happened to it
    live = False  # whether list and rows' pages keep themselves up to date

    def get_urls(self) -> list[Any]:
        name = f"ledger_{self.opts.model_name}_csv"
        return [path("csv/", self.admin_site.admin_view(self.csv_view), name=name), *super().get_urls()]

    @property
    def empty_words(self) -> Any:
        """What the list says when there is nothing in it."""
        return empty.words(str(self.opts.model_name))

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list as the page shows it, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        _refuse_nul(request)
        try:
            return spreadsheet.respond(self, request)
        except IncorrectLookupParameters as error:
            raise BadRequest(
                f"got a filter that cannot be read, expected one as the list's links have it: {error}"
            ) from error

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A row's page: what is known, what can be done and what not, what happened."""
        row = self.get_object(request, unquote(object_id))
        shown: dict[str, Any] = {}
        if row is not None and self.has_view_permission(request, row):
            shown = self.beside(request, row)
            if self.live and live.is_asked_for(request):
                return live.part(request, "row", shown)
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list, or only its rows as they are by now."""
        _refuse_nul(request)
        way = views.open_first(request, str(self.opts.model_name))
        if way is not None:
            return way
        shown = {"saved": views.context(request, str(self.opts.model_name))} | (extra_context or {})
        answer = super().changelist_view(request, shown)
        if self.live and live.is_asked_for(request) and isinstance(answer, TemplateResponse):
            return live.part(request, "rows", answer.context_data or {})
        return answer

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What a row's page shows beside its fields."""
        possible = deeds.of(self, request, row)
        return {
            "live": self.live,
            "deeds": possible,
            "refused": sum(bool(deed["why_not"]) for deed in possible),
            "deeds_url": reverse(f"admin:ledger_{self.opts.model_name}_changelist"),
            "report_url": deeds.report_address(self, request, row),
            "timeline": timeline.of(row) if self.tells else None,
        }

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """What was started on a row's page leads back there. Keys that are none are refused, in words."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        strange = [key for key in chosen if not self._is_key(key)]
        if strange:
            words = _("%(key)s names no row, so nothing was done: tick rows on the list, then choose what to do.")
            messages.error(request, words % {"key": repr(strange[0][:60])})
            return HttpResponseRedirect(request.get_full_path())
        answer = super().response_action(request, queryset)
        if "_back" in request.POST and len(chosen) == 1 and isinstance(answer, HttpResponseRedirect):
            page = reverse(f"admin:ledger_{self.opts.model_name}_change", args=[quote(chosen[0])])
            return HttpResponseRedirect(page)
        return answer

    def _is_key(self, text: str) -> bool:
        """Whether the database can be asked for a row with this key."""
        field = self.opts.pk
        assert field is not None
        try:
            field.run_validators(field.to_python(text))
        except ValidationError:
            return False
        return "\0" not in text

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows by a UUID or its beginning, and by the words in other fields."""
        names = list(self.get_search_fields(request))
        if not search_term or not names:
            return queryset, False
        found, others, whole = finding.search(self.model, queryset, names, search_term)
        if whole or not others:
            return found, False
        page = copy.copy(self)
        page.search_fields = others
        rows, _twice = super(ReadOnlyAdmin, page).get_search_results(request, queryset, search_term)
        return queryset.filter(Q(pk__in=found.values("pk")) | Q(pk__in=rows.values("pk"))), False

    @admin.display(description=ModelAdmin.action_checkbox.short_description)
    def action_checkbox(self, obj: Model) -> SafeString:
        """A row's box as the theme draws it: drawn once, not by a template for each of fifty rows."""
        return mark_safe(_box(get_language()).replace(_SOME, escape(obj.pk)))  # noqa: S308 - the theme's, escaped

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """What the account may know of: see ledger.access.scope."""
        return scope.visible(request.user, super().get_queryset(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _refuse_nul(request: HttpRequest) -> None:
    """No text in PostgreSQL has such a character, so no filter can ask for it, and none of our links does."""
    if any("\0" in value for _name, values in request.GET.lists() for value in values):
        raise BadRequest("got a NUL character in the address, expected filters as the list's links have them")


class VisibleFilter(admin.RelatedFieldListFilter):
    """Offers the rows that the account may know of, in every filter by a relation."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[Any]:
        ordering = self.field_admin_ordering(field, request, model_admin)
        choices = field.get_choices(include_blank=False, ordering=ordering)
        rows = scope.visible(request.user, field.related_model._default_manager.all())  # noqa: SLF001
        known = set(rows.values_list("pk", flat=True)) if scope.limits(request.user) else None
        return [one for one in choices if known is None or one[0] in known]


admin.FieldListFilter.register(lambda field: bool(field.remote_field), VisibleFilter, take_priority=True)


class UseCaseForm(forms.ModelForm):
    """A form whose fields are the arguments of a use case, which makes the row itself. `actor` fills it in."""

    actor: Actor = SYSTEM
    user: Any = None  # the account, for what it may see

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dress_all(self)

    def carry_out(self, values: dict[str, Any]) -> Model:
        """Call the use case. Its refusals are shown above the form."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Act while a refusal can still be shown; what is stored is stored by the workflow."""
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                self.instance = self.carry_out(cleaned)
            except WorkflowError as error:
                raise ValidationError(error.sentence) from error
        return cleaned

    def _post_clean(self) -> None:
        """The row exists by now: nothing is copied from the form into it."""


class AddByUseCase(ReadOnlyAdmin):
    """A page with an add form that goes through the workflow."""

    use_case_form: type[UseCaseForm]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"ledger.add_{self.opts.model_name}")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return list(self.use_case_form.base_fields) if obj is None else self.fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj:
            return super().get_form(request, obj, change, **kwargs)
        return forms.models.modelform_factory(self.model, form=self._filled_in_by(request.user), fields=[])

    def _filled_in_by(self, account: Any) -> type[UseCaseForm]:
        class Form(self.use_case_form):  # type: ignore[name-defined]  # chosen by each page
            actor = officer(account)
            user = account

        return Form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The use case has saved it."""


def link(row: Model | None, label: str | None = None) -> SafeString | str:
    """A link to the page of `row`; a dash for None."""
    if row is None:
        return "–"
    url = address_of(str(row._meta.model_name), row.pk)  # noqa: SLF001 - Django's public name
    return format_html('<a href="{}">{}</a>', url, label or str(row))


def address_of(table: str, key: Any) -> str:
    """The address of a row's page. A list has hundreds of them: only the key differs."""
    return _address_of_some(table, get_script_prefix()).replace(_SOME, quote(str(key)))


@functools.cache
def _address_of_some(table: str, _prefix: str) -> str:
    return reverse(f"admin:ledger_{table}_change", args=[_SOME])


def entry_link(field: str, title: StrOrPromise) -> Callable[[Any, Any], SafeString | str]:
    """A column that links to the log entry in `field`."""

    @admin.display(description=title, ordering=f"{field}_id")
    def column(_admin: Any, row: Any) -> SafeString | str:
        index = getattr(row, f"{field}_id")  # its row, envelope and all, is not read
        if index is None:
            return "–"
        return format_html('<a href="{}">#{}</a>', address_of("logentry", index), index)

    return column


def confirmed(
    page: admin.ModelAdmin, request: HttpRequest, rows: QuerySet[Any], action: str, form: type[forms.Form],
    title: StrOrPromise, words: StrOrPromise = "",
) -> HttpResponse | dict[str, Any]:  # fmt: skip
    """What an action's form says, once it is filled in; before that, a page that asks for it."""
    filled = form(request.POST if "confirmed" in request.POST else None)
    if filled.is_valid():
        return filled.cleaned_data
    dress_all(filled)
    context = page.admin_site.each_context(request) | {
        "title": title,
        "words": words,
        "opts": page.opts,
        "form": filled,
        "rows": rows,
        "action": action,
        "name": ACTION_CHECKBOX_NAME,
        "from_row": "_back" in request.POST,
        "back": _back(page, request),
    }
    return TemplateResponse(request, "admin/ledger/confirm.html", context)


def _back(page: admin.ModelAdmin, request: HttpRequest) -> str:
    """Where an action was started: on a row's page, or on the list."""
    if "_back" not in request.POST:
        return request.get_full_path()
    row = quote(request.POST.get(ACTION_CHECKBOX_NAME, ""))
    return reverse(f"admin:ledger_{page.opts.model_name}_change", args=[row])


def ask_each(
    page: admin.ModelAdmin, request: HttpRequest, rows: QuerySet[Any], action: str, form: type[forms.Form],
    title: StrOrPromise, done: StrOrPromise, use_case: Callable[[Any, dict[str, Any]], object],
    words: StrOrPromise = "",
) -> HttpResponse | None:  # fmt: skip
    """Ask for what a use case needs, then carry it out for each selected row."""
    answer = confirmed(page, request, rows, action, form, title, words)
    if isinstance(answer, HttpResponse):
        return answer
    way = many(page, request, rows, action, answer)
    if way is None:
        each(request, rows, lambda row: use_case(row, answer), done)
    return way


def many(
    page: admin.ModelAdmin, request: HttpRequest, rows: QuerySet[Any], action: str, values: dict[str, Any]
) -> HttpResponse | None:
    """The way to a bulk action's page where rows are too many for one answer; None where they are done at once."""
    table = str(page.opts.model_name)
    if (table, action) not in bulk.DEEDS or rows.count() <= bulk.AT_ONCE:
        return None
    try:
        run = bulk.start(table, action, rows.values_list("pk", flat=True), values, actor=officer(request.user))
    except WorkflowError as error:
        messages.error(request, error.sentence)
        return HttpResponseRedirect(request.get_full_path())
    return HttpResponseRedirect(reverse("admin:ledger_bulkrun_change", args=[run.pk]))


def each(request: HttpRequest, rows: QuerySet[Any], use_case: Callable[[Any], object], done: StrOrPromise) -> None:
    """Run a use case for each selected row, and say what happened to each."""
    for row in rows:
        try:
            use_case(row)
        except WorkflowError as error:
            messages.error(request, f"{row}: {error.sentence}")
        else:
            messages.success(request, f"{row}: {done}")
