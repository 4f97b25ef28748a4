"""Probes and metrics: what they say, to whom, and that alert rules, metrics and runbook know each other."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ledger import log, models
from ledger.fsck.run import check_and_record
from ledger.workflow import proofs
from tests.ledger.story import Story, verdict

DOCS = Path(__file__).resolve().parents[2] / "docs"
TOKEN = "a token of the tests"


def scrape(token: str = TOKEN) -> dict[tuple[str, ...], float]:
    answer = Browser().get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.content
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


@pytest.fixture
def told(story: Story, settings: LazySettings) -> Story:
    """A rejected proof, a job that nobody takes, a check, a witness that is behind."""
    settings.LEDGER_METRICS_TOKEN = TOKEN
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict(accepted=False))
    log.publish_checkpoint()
    check_and_record()
    models.WitnessState.objects.create(vkey="w1.example+12ab34cd+x", url="https://w1.example", size=2)
    hour = timezone.now() - timedelta(hours=1)
    models.DeletionRequest.objects.update(due_at=hour)
    models.Job.objects.update(state=models.Job.State.QUEUED, created_at=hour)
    return story


def test_figures(told: Story, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(20):
        said = scrape()
    assert said["ledger_log_entries",] == log.size() > 0
    assert said["ledger_log_unpublished_entries",] == 0
    assert 0 <= said["ledger_checkpoint_age_seconds",] < 600
    assert said["ledger_witness_lag_entries", "w1.example"] == log.size() - 2
    assert said["ledger_witness_alarm", "w1.example"] == 0
    assert said["ledger_jobs", "mask", "queued"] == 1
    assert said["ledger_job_oldest_seconds",] > 3500
    assert said["ledger_verdicts", "rejected"] == 1
    assert said["ledger_requests_overdue",] == 1
    assert said["ledger_check_problem",] == 0
    assert "digits" not in str(said)


def test_metrics_are_not_for_everybody(db: None, settings: LazySettings) -> None:
    assert Browser().get("/metrics").status_code == 404
    settings.LEDGER_METRICS_TOKEN = TOKEN
    for header in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
    ):
        answer = Browser().get("/metrics", headers=header)
        assert (answer.status_code, b"ledger_" in answer.content) == (401, False)


def test_probes(db: None, settings: LazySettings, tmp_path: Path) -> None:
    assert Browser().get("/ready").json() == {"status": "ready"}
    settings.LEDGER_DATA_DIR = tmp_path  # as if it had not been mounted
    answer = Browser().get("/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["keys"])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_logentry RENAME TO elsewhere")
    answer = Browser().get("/ready")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["database", "keys"])
    assert Browser().get("/health").json() == {"status": "alive"}


def test_rules_metrics_and_runbook(told: Story) -> None:
    """Every name in a rule is served, every alarm has its chapter, every chapter its alarm."""
    served = {name for name, *_ in scrape()}
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        used = set(re.findall(r"\bledger_\w+", rule["expr"]))
        assert used <= served, rule["alert"]
        assert used or rule["alert"] == "LedgerAway"
        assert rule["annotations"]["runbook"] == f"runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}
    chapters = re.findall(r"^## (\w+)$", (DOCS / "runbook.md").read_text(), re.MULTILINE)
    assert chapters == [rule["alert"] for rule in group["rules"]]
