"""Accounts that are limited to one of two models: what they see of the other one, wherever they look. Nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse

from ledger import models
from ledger.access import scope
from ledger.api.auth import OfficerView, PartyView
from ledger.fsck.run import check_and_record
from ledger.workflow import proofs
from ledger.workflow.certificates import certify
from ledger.workflow.suspension import suspend_client
from tests.ledger.api.parts import API, by_officer, fresh
from tests.ledger.api.test_permissions import CASES
from tests.ledger.story import Story, verdict

PAGES = [model for model in admin.site._registry if model._meta.app_label == "ledger"]


@pytest.fixture
def told(story: Story) -> Story:
    """The whole of a story, about a model that is not the limited account's."""
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict(accepted=False))
    certify(window.uuid)
    suspend_client(party.row.uuid)
    check_and_record()
    return story


def limited_to(model: models.GlobalModel) -> Browser:
    """Somebody with every role, but for one model."""
    user = User.objects.create(username="limited", is_staff=True)
    user.groups.set(Group.objects.all())
    models.ModelLimit.objects.create(user=user, model=model)
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def other(told: Story) -> models.GlobalModel:
    """Another model, on other data; nothing has happened to it."""
    row = models.GlobalModel.objects.get()
    entry = models.LogEntry.objects.order_by("index")[0]
    return models.GlobalModel.objects.create(
        name="theirs", entry=entry, file_sha256=row.file_sha256, architecture={}, total_weights=1, dataset="other"
    )


def test_every_list_is_empty_and_every_page_is_missing(other: models.GlobalModel) -> None:
    browser, seen = limited_to(other), 0
    for model in PAGES:
        if model in scope.SHARED:
            continue
        name = model._meta.model_name
        answer = browser.get(reverse(f"admin:ledger_{name}_changelist"))
        if answer.status_code != 403:
            rows = [row for row in answer.context["cl"].result_list if row.pk != other.pk]
            assert rows == [], name
        for row in model.objects.exclude(pk=other.pk)[:1]:
            answer = browser.get(reverse(f"admin:ledger_{name}_change", args=[row.pk]))
            assert answer.status_code in (302, 403), name  # 302: to the home page, "does not exist"
            seen += 1
    assert seen >= 10


def test_over_rest_it_does_not_exist(told: Story, other: models.GlobalModel) -> None:
    """Every operation, with the names of rows that do exist."""
    browser, hidden = limited_to(other), 0
    window = models.Window.objects.get()
    named = {
        "request": window.requests.get().pk, "window": window.pk, "order": window.orders.get().pk,
        "client": models.Client.objects.get().pk,
        "model": window.model_id, "job": models.Job.objects.first().pk,  # type: ignore[union-attr]
    }  # fmt: skip
    for method, path, view in CASES:
        if not issubclass(view, OfficerView | PartyView):
            continue
        filled = path
        for name, kind in named.items():
            collection = f"/{name}s/"
            if collection in filled and str(uuid.UUID(int=0)) in filled:
                filled = filled.replace(str(uuid.UUID(int=0)), str(kind), 1)
        answer = by_officer(method, filled, browser, Idempotency_Key=fresh())
        if filled != path:
            assert answer.status_code in (403, 404), (method, filled, answer.status_code)
            hidden += 1
        for row in {window.pk, window.model_id, *named.values()}:
            shown = answer.content.decode().replace(filled, "")
            assert answer.status_code == 404 or str(row) not in shown, (method, filled)
    assert hidden >= 25


def test_bodies_cannot_name_it_either(other: models.GlobalModel) -> None:
    browser, window = limited_to(other), models.Window.objects.get()
    request = window.requests.get()
    for path, body in {
        "/windows": {"model": str(window.model_id), "requests": [str(request.pk)]},
        "/requests": {"regulation": "gdpr", "subject": "x", "forget": {"dataset": "digits", "class": 8}},
        "/requests/preview": {"forget": {"dataset": "digits", "class": 8}},
    }.items():
        assert by_officer("POST", path, browser, body, Idempotency_Key=fresh()).status_code == 404, path
    stolen = {"model": str(other.pk), "requests": [str(request.pk)]}
    assert by_officer("POST", "/windows", browser, stolen, Idempotency_Key=fresh()).status_code == 404
    add = reverse("admin:ledger_deletionrequest_add")
    form = {"regulation": "gdpr", "subject": "y", "data_set": "digits", "forget_class": "8"}
    assert "no model of this account" in browser.post(add, form).content.decode()
    assert models.DeletionRequest.objects.count() == 1


def test_filters_offer_no_names_of_it(other: models.GlobalModel) -> None:
    hidden = str(models.GlobalModel.objects.exclude(pk=other.pk).get())
    page = limited_to(other).get(reverse("admin:ledger_window_changelist")).content.decode()
    assert f">{hidden}<" not in page
    assert str(models.Window.objects.get().model_id) not in page


def test_what_is_theirs_they_see(told: Story) -> None:
    """The same account limited to the model of the story sees all of it."""
    browser = limited_to(models.GlobalModel.objects.get())
    for path in ("/windows", "/requests", "/certificates", "/models", "/clients", "/jobs"):
        assert browser.get(API + path).json()["items"], path
    kinds = {event["kind"] for event in browser.get(f"{API}/events?after=0").json()["items"]}
    assert {"window.masked", "order.rejected"} <= kinds
    for model in PAGES:
        name = model._meta.model_name
        if name in ("window", "order", "deletionrequest", "verdictrecord", "client", "suspension"):
            rows: Any = browser.get(reverse(f"admin:ledger_{name}_changelist")).context["cl"]
            assert rows.result_count == model.objects.count() > 0


def test_every_table_is_decided(db: None) -> None:
    """A new table shows limited accounts nothing until somebody says whose its rows are."""
    private = {
        "blob", "upload", "subjectrecord", "vaultkey", "ratebucket", "keptanswer", "callbackcursor",
        "indexedsample", "requestimport", "webhookendpoint", "webhookdelivery", "modellimit",
        "secondfactor", "recoverycode", "apitoken", "export", "exportstep", "savedview", "bulkrun", "bulkrow",
    }  # fmt: skip
    decided = {*scope._PATHS, *scope._DATA_SETS, *scope._CLIENTS, *scope.SHARED, models.Job, models.Event}
    open_tables = {model for model in apps.get_app_config("ledger").get_models() if model not in decided}
    assert {model._meta.model_name for model in open_tables} == private
