"""The console in German: everything is translated, nothing English is left on its pages, programs hear English."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger import log, models
from ledger.admin.base import AddByUseCase
from ledger.fsck.run import check_and_record
from ledger.management import catalogue
from tests.ledger.story import Story

PLACEHOLDERS: Final = re.compile(r"%\(\w+\)[a-z]|%[ds%]|\{\w*\}")
#: Words that no German sentence has. A page's own text must not have them either, outside of what the log holds.
ENGLISH: Final = re.compile(r"\b(the|and|of|is|are|were|not|with|this|that|from|who|yet|nobody|has|have|for)\b")


def forms(text: Any) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def test_every_word_has_a_translation_with_the_same_placeholders() -> None:
    now = catalogue.update("de")
    assert [message.id for message in now if message.id and not catalogue.is_translated(message)] == []
    for message in now:
        wanted = sorted(PLACEHOLDERS.findall(forms(message.id)[-1]))
        assert all(sorted(PLACEHOLDERS.findall(form)) == wanted for form in forms(message.string)[1:]), message.id
        first = set(PLACEHOLDERS.findall(forms(message.string)[0])) if message.id else set()
        assert first <= set(wanted), message.id
    kept = [catalogue.path_of("de", ending).read_bytes() for ending in ("po", "mo")]
    assert kept == [catalogue.as_po(now), catalogue.as_mo(now)]  # or call: manage.py messages


def test_the_command_finds_the_pages_words_too() -> None:
    """Commands do not load the console's pages by themselves; tests of this process may have."""
    told = (
        "import django; django.setup(); from ledger.management import catalogue; print(len(catalogue.messages()))"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "ledger.settings"}
    done = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(catalogue.messages()) > 1000


class Words(HTMLParser):
    """What a page says to people: texts, and attributes that are read out. Not icons, not what the log says."""

    ALONE: Final = {"img", "input", "br", "meta", "link", "hr", "col", "path", "source"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[bool] = [False]  # whether an element around is none of the page's own words
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        mute = tag in {"script", "style", "code", "pre", "textarea"} or of.get("lang") == "en"
        mute |= "material-symbols" in (of.get("class") or "") or self._within[-1]
        if not mute:
            self.found += [value for name in ("aria-label", "placeholder", "alt") if (value := of.get(name))]
        if tag not in self.ALONE:
            self._within.append(mute)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.ALONE and len(self._within) > 1:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within[-1] and data.strip():
            self.found.append(" ".join(data.split()))


@pytest.fixture
def rejected(story: Story) -> models.Window:
    """Two clients; one was rejected, the other has not answered."""
    return story.rejected_window()


@pytest.fixture
def anna(db: None) -> Browser:
    """A superuser who has just logged in, with a browser that wants German."""
    browser = Browser(headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    browser.force_login(User.objects.create_superuser("anna"))
    return browser


def pages() -> Iterator[str]:
    """All there are to read: lists, a row of each, and forms."""
    yield from (
        reverse(name)
        for name in ("admin:index", "console:figures", "second-factor", "second-factor-setup", "api-tokens")
    )
    yield reverse("console:inclusion", args=[1])
    for table, page in admin.site._registry.items():
        name = f"admin:{table._meta.app_label}_{table._meta.model_name}"
        yield reverse(f"{name}_changelist")
        row = table._default_manager.first()
        if row is not None:
            yield reverse(f"{name}_change", args=[row.pk])
        if isinstance(page, AddByUseCase):
            yield reverse(f"{name}_add")


def test_pages_in_german_hold_no_english(rejected: models.Window, anna: Browser) -> None:
    log.publish_checkpoint()
    check_and_record()
    known = catalogue.load("de")
    pairs = [pair for one in known if one.id for pair in zip(forms(one.id), forms(one.string), strict=True)]
    english = {text for text, german in pairs if text.casefold() != german.casefold()}
    english |= {text[:1].upper() + text[1:] for text in english}
    left: dict[str, str] = {}
    for address in pages():
        answer = anna.get(address, follow=True)
        assert answer.status_code == 200, address
        assert answer.headers["Content-Language"] == "de"
        for words in Words(answer.content.decode()).found:
            if words in english or ENGLISH.search(words):
                left.setdefault(words, address)
    assert left == {}


def test_refusals_speak_german_on_the_console_and_english_to_programs(story: Story, anna: Browser) -> None:
    request = story.approved_request()
    said = anna.post(
        reverse("admin:ledger_deletionrequest_changelist"),
        {"action": "acknowledge", "_selected_action": [request.pk]},
        follow=True,
    ).content.decode()
    again = anna.post(
        reverse("admin:ledger_deletionrequest_changelist"),
        {"action": "acknowledge", "_selected_action": [request.pk]},
        follow=True,
    ).content.decode()
    assert "Eingang bestätigt" in said
    assert f"der Eingang von Antrag {request.pk} wurde bereits bestätigt" in again
    told = anna.get(f"/api/v1/windows/{request.pk}")
    assert told.json()["detail"].startswith("there is no window")
    table = b"".join(anna.get(reverse("admin:ledger_deletionrequest_csv"))).decode()  # type: ignore[arg-type]
    assert "in Bearbeitung" in table
    assert "In Progress" not in table


def test_the_language_that_was_chosen_stays(anna: Browser) -> None:
    assert "Was heute ansteht" in anna.get("/admin/").content.decode()
    anna.post(reverse("set_language"), {"language": "en-gb", "next": "/admin/"})
    assert "What needs you today" in anna.get("/admin/").content.decode()
    anna.post(reverse("admin:logout"))
    assert "Log in" in anna.get("/admin/login/").content.decode()
    anna.post(reverse("set_language"), {"language": "de"})
    assert "Anmelden" in anna.get("/admin/login/").content.decode()
    assert Browser().get("/admin/login/").headers["Content-Language"] == "en-gb"
