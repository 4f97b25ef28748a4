"""Which words pages show in the reader's language, beside those that are marked with gettext where they stand.

Tables and registers of codes say their words in plain English: registers belong to packages without Django, and
what tables say stands in migrations. `translate_tables` puts gettext in front of tables; `meaning` and `choices`
put it in front of registers. See docs/decisions/0070-languages.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.apps import apps
from django.db.models import Model
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy

from ledger.statements import lifecycle

#: What bare codes mean, by what they are reasons for; registers of statements that name codes only.
_CODES: Final[Mapping[str, Mapping[str, str]]] = {
    "erasure": {
        "retention-ended": "the record need not be kept any longer",
        "subject-asked": "the person has asked for it",
        "authority-ordered": "a court or authority has ordered it",
        "filed-by-mistake": "nobody asked for this",
    },
    "retirement": {
        "superseded": "a newer model takes its place",
        "withdrawn": "it was taken out of use",
        "never-deployed": "it was never used",
    },
    "key": {
        "lost": "nobody has the key any more",
        "stolen": "somebody else may have the key",
        "replaced": "another key takes its place",
    },
    "exception": {
        "model-not-in-use": "the client does not use the model any more",
        "client-gone": "the client does not exist any more",
        "client-unable": "the client lacks means or data to obey",
        "legal-reason": "the law speaks against it",
        "provider-fault": "the provider made a mistake",
        "other": "another reason",
    },
    "suspension": {
        "officer": "an officer has decided so",
        "unanswered": "an order was not answered in time",
        "rejected": "the proofs were rejected",
    },
    "reinstatement": {
        "officer": "an officer has decided so",
        "complied": "the client has done what was asked",
    },
    "identity": {"verified": "verified", "failed": "failed"},
    "method": lifecycle.METHODS,
}
REGISTERS: Final[Mapping[str, Mapping[str, str]]] = {
    **_CODES,
    **{name: {code: one.meaning for code, one in register.items()} for name, register in lifecycle.REASONS.items()},
}


def meaning(register: str, code: str) -> str:
    """What a code means, with the code, which stands in the log: "code: meaning". Unknown codes stand alone."""
    words = REGISTERS[register].get(code)
    return code if words is None or words == code else f"{code}: {gettext(words)}"


def choices(register: str) -> list[tuple[str, Any]]:
    """A register as the choices of a field, in the language of whoever sees the form."""
    return [
        (code, gettext_lazy(words) if words == code else format_lazy("{}: {}", code, gettext_lazy(words)))
        for code, words in REGISTERS[register].items()
    ]


def of_field(table: type[Model], name: str) -> list[tuple[Any, Any]]:
    """The choices of a table's field, in the language of whoever sees the form."""
    return list(table._meta.get_field(name).choices or ())  # type: ignore[union-attr]  # noqa: SLF001 - public


def translate_tables() -> None:
    """Names, help texts and choices of our tables become lazy translations of what they say. Call it once."""
    for table in apps.get_app_config("ledger").get_models():
        options = table._meta  # noqa: SLF001 - Django's public name
        options.verbose_name = _lazy(options.verbose_name)
        options.verbose_name_plural = _lazy(options.verbose_name_plural)
        for field in (*options.local_fields, *options.local_many_to_many):
            field.verbose_name, field.help_text = _lazy(field.verbose_name), _lazy(field.help_text)
            if field.choices:
                field.choices = [(value, _lazy(label)) for value, label in field.choices]


def _lazy(text: Any) -> Any:
    return gettext_lazy(str(text)) if text else text
