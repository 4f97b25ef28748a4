"""Our own forms: the one that most actions ask with, and fields in the theme's clothes, in which Django's admin
dresses only those that come from a model.
"""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.forms.utils import pretty_name
from django.utils.translation import gettext
from unfold import widgets

from ledger import texts

_CLOTHES: Final[list[tuple[type[forms.Field], type[forms.Widget], type[forms.Widget]]]] = [
    (forms.BooleanField, forms.CheckboxInput, widgets.UnfoldBooleanWidget),
    (forms.ModelChoiceField, forms.Select, widgets.UnfoldAdminSelectWidget),
    (forms.ChoiceField, forms.Select, widgets.UnfoldAdminSelectWidget),
    (forms.FileField, forms.ClearableFileInput, widgets.UnfoldAdminFileFieldWidget),
    (forms.IntegerField, forms.NumberInput, widgets.UnfoldAdminIntegerFieldWidget),
    (forms.Field, forms.Textarea, widgets.UnfoldAdminTextareaWidget),
    (forms.Field, forms.TextInput, widgets.UnfoldAdminTextInputWidget),
]  # fmt: skip


def reason_form(register: str) -> type[forms.Form]:
    """A form that asks why: for a code of that register, because the reason goes into the log."""
    return type("ReasonForm", (forms.Form,), {"reason": forms.ChoiceField(choices=texts.choices(register))})


def dress(field: forms.Field) -> None:
    """Give a field the theme's widget of its kind; keep what it asked for, as the rows of a text."""
    for kind, plain, themed in _CLOTHES:
        if isinstance(field, kind) and isinstance(field.widget, plain):
            old = field.widget
            new = themed(attrs={**_rows(old)})
            new.is_required = old.is_required
            if isinstance(field, forms.ChoiceField):
                new.choices = old.choices  # type: ignore[attr-defined]  # both are selects
            field.widget = new
            return


def dress_all(form: Any) -> None:
    """All fields of a form, in place. Those without a label are called as in the code, in the reader's language."""
    for name, field in form.fields.items():
        field.label = field.label or gettext(pretty_name(name))
        dress(field)


def _rows(widget: forms.Widget) -> dict[str, Any]:
    return {"rows": widget.attrs["rows"]} if "rows" in widget.attrs else {}
