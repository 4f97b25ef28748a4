"""A list's table as the theme draws it, without doing again for every row what is the same for all of them.

The theme finds labels, addresses of sorting, and classes anew for each row, and a template for each mark: three
quarters of a list's time. Here every column is made ready once, and a row is what its columns make of it. What the
theme can do beyond that, and no page of ours uses (rows that are edited, sorted by hand or unfolded; pop-ups), is
left out; a test compares the tables of all pages with the theme's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field, quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import BooleanField, DateField, ForeignKey, ManyToOneRel, Model, TimeField
from django.template import Library
from django.utils.html import conditional_escape, escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from unfold.templatetags import unfold_list as theme
from unfold.utils import display_for_field, display_for_value

Cell = Callable[[Any], str]

_SOME: Final = "some-row"
_BODY: Final = '<tbody class="block relative lg:table-row-group {}"><tr class="{}">{}</tr></tbody>'
_ODD: Final = "bg-base-50 dark:bg-white/[.02]"
_ROW: Final = (
    "data-row block border border-base-200 mb-3 relative rounded-default lg:table-row lg:border-none lg:mb-0 "
    "lg:rounded-none dark:border-base-800"
)

register = Library()


@register.inclusion_tag("admin/ledger/parts/table.html", takes_context=True)
def console_rows(context: Any, cl: ChangeList) -> dict[str, Any]:
    """The table of a list's page, or what is said where it is empty."""
    headers = list(theme.result_headers(cl))
    return {
        "cl": cl,
        "result_headers": headers,
        "num_sorted_fields": sum(bool(one["sortable"] and one["sorted"]) for one in headers),
        "rows": _rows(cl, [one["text"] for one in headers]),
        "has_add_permission": cl.model_admin.has_add_permission(context["request"]),
    }


def _rows(cl: ChangeList, labels: list[Any]) -> SafeString:
    found = list(cl.result_list)
    if not found:
        return mark_safe("")
    columns = _columns(cl, labels, found[0])
    bodies = (
        _BODY.format(_ODD if number % 2 else "", _ROW, "".join(cell(row) for cell in columns))
        for number, row in enumerate(found)
    )
    return mark_safe("".join(bodies))  # noqa: S308 - cells are escaped where they are made


def _columns(cl: ChangeList, labels: list[Any], some: Model) -> list[Cell]:
    """What makes the cells of any row; what kind of column each is, is seen from `some` row."""
    links = set(cl.list_display_links or ())
    made: list[Cell] = []
    tag = "th"  # of the first column that leads to the row
    for name, label in zip(map(str, cl.list_display), labels, strict=True):
        text, classes = _text(cl, name, some)
        if name == "action_checkbox":
            made.append(_cell("td", theme.CHECKBOX_CLASSES, _("Select record"), text))
        elif name in links:
            made.append(_cell(tag, classes, label, _linked(cl, text)))
            tag = "td"
        else:
            made.append(_cell("td", classes, label, text))
    return made


def _cell(tag: str, classes: list[str], label: Any, text: Cell) -> Cell:
    before = f'<{tag} class="{" ".join(classes)}" data-label="{escape(label)}">'
    after = f"</{tag}>"
    return lambda row: before + text(row) + after


def _linked(cl: ChangeList, text: Cell) -> Cell:
    """The text as the way to the row's page, which leads back to the list as it is now."""
    key = cl.pk_attname
    some: Any = SimpleNamespace(**{key: _SOME})
    kept: Any = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
    before, after = map(escape, add_preserved_filters(kept, cl.url_for_result(some)).split(_SOME, 1))
    classes = " ".join(theme.LINK_CLASSES)
    return lambda row: (
        f'<a href="{before}{escape(quote(getattr(row, key)))}{after}" class="{classes}">{text(row)}</a>'
    )


def _text(cl: ChangeList, name: str, some: Model) -> tuple[Cell, list[str]]:
    """What makes a column's escaped text of a row, and the classes of its cells."""
    page = cl.model_admin
    field, attribute, _value = _look_up(page, name, some)
    classes = [f"field-{name}", *theme.ROW_CLASSES]
    if field is not None and not field.auto_created:
        narrow = isinstance(field, DateField | TimeField | ForeignKey)
        return _of_field(field, name, page.get_empty_value_display()), [*classes, *(["nowrap"] if narrow else [])]
    ours = name != "__str__" and hasattr(page, name)  # as Django decides
    find = getattr(page, name) if ours else (lambda row: _look_up(page, name, row)[2])
    empty = getattr(attribute, "empty_value_display", page.get_empty_value_display())
    boolean = getattr(attribute, "boolean", False)
    return lambda row: _shown(find(row), empty, boolean), classes


def _look_up(page: Any, name: str, row: Model) -> tuple[Any, Any, Any]:
    """Field, attribute and value; nothing of either where a row that belongs to this one does not exist."""
    try:
        found: tuple[Any, Any, Any] = lookup_field(name, row, page)
    except ObjectDoesNotExist:
        return None, None, None
    return found


def _of_field(field: Any, name: str, empty: str) -> Cell:
    if isinstance(field.remote_field, ManyToOneRel):

        def related(row: Any) -> str:
            other = getattr(row, name)
            return str(conditional_escape(empty if other is None else other))

        return related

    def show(value: Any) -> str:
        return str(conditional_escape(display_for_field(value, field, empty)))

    if field.choices or isinstance(field, BooleanField):  # few values, the same in many rows
        known = functools.cache(show)
        return lambda row: known(getattr(row, name))
    return lambda row: show(getattr(row, name))


def _shown(value: Any, empty: str, boolean: bool) -> str:
    """As the theme shows what a method has found."""
    return str(conditional_escape(value if isinstance(value, str) else display_for_value(value, empty, boolean)))
