"""The catalogue of the console's words: which there are, and the files that hold their translations.

Words come from gettext calls in our code, from our templates, from the names, help texts and choices of tables that
the console shows, from registers of codes, and from the theme's templates, as far as Django does not know them.
Babel reads and writes the files, so that neither setting up nor running needs the gettext programs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import FieldDoesNotExist
from django.forms import BaseForm, Form, ModelForm
from django.forms.utils import pretty_name
from django.utils.translation import override
from django.utils.translation.template import templatize

from ledger import texts
from ledger.models import ClientModel, DeletionRequest, Export, Job, Order, Window
from ledger.models.events import KINDS
from ledger.statements.predicates import PREDICATES
from ledger.workflow import certificates

ROOT: Final = Path(settings.BASE_DIR)
LANGUAGES: Final = ("de",)
_CODE: Final = ("admin", "access", "models", "workflow")
_KEYWORDS: Final = {
    "_": None, "gettext": None, "gettext_lazy": None, "ngettext": (1, 2), "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2), "npgettext": ((1, "c"), 2, 3),
}  # fmt: skip
#: Where words stand, what they are (with the plural, if they have one), and their context.
Words = tuple[str, str | tuple[str, ...], str | None]


def path_of(language: str, ending: str = "po") -> Path:
    """The file of a language: `po` is edited, `mo` is what Django reads."""
    return ROOT / "ledger" / "locale" / language / "LC_MESSAGES" / f"django.{ending}"


def messages() -> Catalog:
    """All there is to translate, without translations."""
    admin.autodiscover()  # commands do without pages: see ledger.site
    found = Catalog(project="unlearning-ledger", charset="utf-8")
    for place, text, context in (
        *_code(),
        *_templates(ROOT / "ledger" / "templates"),
        *_words(),
        *_forms(),
        *_foreign(),
    ):
        found.add(text, locations=[(place, 0)], context=context)
    return found


def load(language: str) -> Catalog:
    """The translations as they are kept; none where there is no file yet."""
    path = path_of(language)
    if not path.exists():
        return Catalog(locale=language, project="unlearning-ledger")
    return read_po(io.BytesIO(path.read_bytes()), locale=language)


def update(language: str) -> Catalog:
    """The kept translations of what there is today: new words come untranslated, words that are gone go."""
    kept, now = load(language), messages()
    for message in now:
        old = kept.get(message.id, message.context) if message.id else None
        if old is not None and _same_number(old.string, message.id):
            message.string = old.string
    now.locale, now.fuzzy = language, False
    return now


def is_translated(message: Message) -> bool:
    """Whether every form of it has a text."""
    return all(message.string) if isinstance(message.string, tuple) else bool(message.string)


def write(language: str, catalogue: Catalog) -> None:
    """Both files of a language, the same for the same words."""
    path_of(language).parent.mkdir(parents=True, exist_ok=True)
    path_of(language).write_bytes(as_po(catalogue))
    path_of(language, "mo").write_bytes(as_mo(catalogue))


def as_po(catalogue: Catalog) -> bytes:
    """The text that people edit: sorted, with the files but not the lines in which words stand, without dates."""
    written = io.BytesIO()
    write_po(written, catalogue, width=110, sort_output=True, include_lineno=False, ignore_obsolete=True)
    kept = [line for line in written.getvalue().splitlines(keepends=True) if not _DATED.match(line)]
    return b"".join(kept)


def as_mo(catalogue: Catalog) -> bytes:
    """What Django reads. Untranslated words are left out: they show in English."""
    written, kept = io.BytesIO(), read_po(io.BytesIO(as_po(catalogue)), locale=catalogue.locale)
    kept.creation_date = kept.revision_date = datetime(2000, 1, 1, tzinfo=UTC)  # the same words, the same file
    write_mo(written, kept)
    return written.getvalue()


_DATED: Final = re.compile(rb'"(POT-Creation-Date|PO-Revision-Date|Last-Translator|Language-Team|Generated-By|'
                           rb"Report-Msgid-Bugs-To):|# (Copyright|Translations|This file|FIRST)|#$")  # fmt: skip


def _same_number(translation: Any, text: Any) -> bool:
    return isinstance(translation, tuple) == isinstance(text, tuple)


def _code() -> Iterator[Words]:
    """gettext calls in our code."""
    folders = [path for name in _CODE for path in sorted((ROOT / "ledger" / name).rglob("*.py"))]
    for path in [*folders, ROOT / "ledger" / "console.py"]:
        yield from _extracted(path, path.read_bytes())


def _templates(folder: Path) -> Iterator[Words]:
    """Tags in templates, which Django turns into something like Python."""
    for path in sorted(folder.rglob("*.html")):
        lines = templatize(path.read_text(), origin=str(path)).splitlines()
        yield from _extracted(path, "\n".join(line.strip() for line in lines).encode())


def _extracted(path: Path, source: bytes) -> Iterator[Words]:
    place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT / "ledger") else f"unfold/{path.name}"
    for _line, text, _comments, context in extract("python", io.BytesIO(source), keywords=_KEYWORDS):
        yield place, text, context


def _words() -> Iterator[Words]:
    """Words of tables and registers."""
    with override(None):
        for page in admin.site._registry.values():  # noqa: SLF001 - there is no other list of pages
            if page.model._meta.app_label == "ledger":  # noqa: SLF001 - Django's public name
                yield from _table(page)
    for register in texts.REGISTERS.values():
        yield from (("ledger/texts.py", words, None) for words in register.values())
    yield from (("ledger/models/events.py", words, None) for words in KINDS.values())
    proved = (*certificates.PROVES, *certificates.SAMPLE_PROVES, *certificates.DOES_NOT_PROVE,
              certificates.SAMPLE_DOES_NOT_PROVE, certificates.NOT_CONTINUED,
              certificates.DEVELOPMENT_SRS)  # fmt: skip
    yield from (("ledger/workflow/certificates.py", words, None) for words in proved)
    yield from (
        ("ledger/statements/predicates", kind, None) for kind in sorted(one.slug for one in PREDICATES.values())
    )
    states = (DeletionRequest.State, Window.State, Order.State, ClientModel.State, Job.State)
    for codes in (*states, Job.Kind, Export.Scope):
        yield from (("ledger/models", str(code.value), None) for code in codes)
    yield from (
        ("ledger/workflow/imports.py", code, None) for code in ("filed", "already", "refused", "would-file")
    )


def _table(page: Any) -> Iterator[Words]:
    """What the console shows of a table: its name, and the fields on its list and its page."""
    for part in (page, *(inline(page.model, admin.site) for inline in page.inlines)):
        options = part.model._meta  # noqa: SLF001 - Django's public name
        place = f"{part.model.__module__.replace('.', '/')}.py"
        yield from ((place, str(name), None) for name in (options.verbose_name, options.verbose_name_plural))
        for field in _shown(part):
            words = [str(field.verbose_name), *([str(field.help_text)] if field.help_text else [])]
            words += [str(label) for _value, label in field.choices or ()]
            yield from ((place, text, None) for text in words)


def _shown(page: Any) -> Iterable[Any]:
    options = page.model._meta  # noqa: SLF001 - Django's public name
    left_out = page.exclude or ()
    listed = page.fields or [one.name for one in options.local_fields if one.name not in left_out]
    filters = [one[0] if isinstance(one, tuple) else one for one in getattr(page, "list_filter", ())]
    for name in dict.fromkeys([*listed, *getattr(page, "list_display", ()), *filters]):
        with suppress(FieldDoesNotExist):
            field = get_fields_from_path(page.model, name)[-1] if isinstance(name, str) else None
            if field is not None and field.concrete:
                yield field


def _forms() -> Iterator[Words]:
    """Fields of our forms that are called as in the code."""
    waiting = list(BaseForm.__subclasses__())
    while waiting:
        form = waiting.pop()
        waiting += form.__subclasses__()
        ours = form.__module__.startswith("ledger.admin") and "<locals>" not in form.__qualname__
        if ours and issubclass(form, Form | ModelForm):  # pages make more of them, for the account that asks
            place = f"{form.__module__.replace('.', '/')}.py"
            names = sorted(name for name, field in form.base_fields.items() if not field.label)
            yield from ((place, pretty_name(name), None) for name in names)


def _foreign() -> Iterator[Words]:
    """Words of the theme that Django's own translation lacks, and those of Django's pages that it lacks."""
    django = Path(find_spec("django").origin).parent  # type: ignore[union-attr,arg-type]  # both are installed
    known: set[Any] = set()
    for part in ("conf", "contrib/admin", "contrib/auth"):
        for message in read_po(io.BytesIO((django / part / "locale/de/LC_MESSAGES/django.po").read_bytes())):
            text = message.id if isinstance(message.id, str) else tuple(message.id)
            if is_translated(message):
                known.add(text)
            elif text and part != "conf":
                yield "django", text, message.context
    theme = Path(find_spec("unfold").origin).parent  # type: ignore[union-attr,arg-type]
    code = [words for name in ("admin.py", "forms.py", "widgets.py")
            for words in _extracted(theme / name, (theme / name).read_bytes())]  # fmt: skip
    for place, text, context in (*code, *_templates(theme / "templates")):
        if text not in known:
            yield place, text, context
