"""The alert rules, as Prometheus itself reads them: each fires for its reason and in its time, and no other."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).resolve().parents[2] / "docs" / "alerts.yml"
WEB = 'job="unlearning-ledger",instance="web"'
UP, OTHER_UP = f"up{{{WEB}}}", 'up{job="unlearning-ledger",instance="other"}'

#: What a house says in which all is well, although its log has been quiet for a day.
WELL: dict[str, str] = {
    UP: "1x300",
    OTHER_UP: "1x300",
    "ledger_log_unpublished_entries": "0x300",
    "ledger_checkpoint_age_seconds": "86400+60x300",
    'ledger_witness_alarm{witness="w1"}': "0x300",
    'ledger_witness_lag_entries{witness="w1"}': "0x300",
    "ledger_job_oldest_seconds": "0x300",
    'ledger_jobs{kind="mask",state="failed"}': "0x300",
    'ledger_jobs{kind="verify",state="done"}': "7x300",
    "ledger_check_problem": "0x300",
    "ledger_check_age_seconds": "3600+60x300",
    "ledger_requests_overdue": "0x300",
    "ledger_orders_overdue": "0x300",
    'ledger_verdicts{result="rejected"}': "4x300",
    'ledger_verdicts{result="accepted"}': "9+1x300",
}
NEVER_PUBLISHED: dict[str, str | None] = {
    "ledger_log_unpublished_entries": "3x300",
    "ledger_checkpoint_age_seconds": None,
}
#: Alarm, what is otherwise (None: not served at all), the alarm's labels, minutes until it fires and one too early.
CASES: list[tuple[str, dict[str, str | None], dict[str, str], int, int]] = [
    ("LedgerAway", {UP: "0x300", OTHER_UP: "0x300"}, {}, 5, 4),
    ("LedgerAway", {UP: None, OTHER_UP: None}, {"job": "unlearning-ledger"}, 5, 4),
    ("LogDisagrees", {"ledger_check_problem": "0x9 1x290"}, {}, 10, 9),
    ("WitnessAlarm", {'ledger_witness_alarm{witness="w1"}': "0x9 1x290"}, {"witness": "w1"}, 10, 9),
    ("NothingPublished", {"ledger_log_unpublished_entries": "3x300"}, {}, 10, 9),
    ("NothingPublished", NEVER_PUBLISHED, {}, 10, 9),
    ("WitnessBehind", {'ledger_witness_lag_entries{witness="w1"}': "5x300"}, {"witness": "w1"}, 60, 59),
    ("JobsWait", {"ledger_job_oldest_seconds": "1801+60x300"}, {}, 10, 9),
    ("JobsFailed", {'ledger_jobs{kind="mask",state="failed"}': "0x9 1x290"}, {}, 10, 9),
    ("LogNotChecked", {"ledger_check_age_seconds": "172801+60x300"}, {}, 60, 59),
    ("LogNotChecked", {"ledger_check_age_seconds": None}, {}, 60, 59),
    ("RequestsOverdue", {"ledger_requests_overdue": "0x9 2x290"}, {}, 10, 9),
    ("OrdersOverdue", {"ledger_orders_overdue": "1x300"}, {}, 60, 59),
    ("ProofsRejected", {'ledger_verdicts{result="rejected"}': "4x9 5x290"}, {"result": "rejected"}, 10, 9),
]  # fmt: skip


def promtool(*command: str) -> str:
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> dict[str, Any]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expected(known: dict[str, Any], at: int, fires: str = "", labels: dict[str, str] | None = None) -> list[Any]:
    """What every rule must say at a minute: only `fires` does."""
    told = (
        {"exp_labels": known[fires]["labels"] | (labels or {}), "exp_annotations": known[fires]["annotations"]}
        if fires
        else {}
    )
    return [
        {"eval_time": f"{at}m", "alertname": name, "exp_alerts": [told] if name == fires else []} for name in known
    ]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
def test_each_alarm_fires_for_its_reason_and_no_other_does(tmp_path: Path) -> None:
    known = rules()
    assert {name for name, *_ in CASES} == set(known)
    tests = [
        # One of two processes gone is no alarm, nor is an entry that waits for the next checkpoint.
        (WELL | {OTHER_UP: "0x300", "ledger_log_unpublished_entries": "0x9 1x5 0x290"}, expected(known, 240)),
        (WELL | {"ledger_log_unpublished_entries": "2x300", "ledger_checkpoint_age_seconds": "15x300"},
         expected(known, 240)),
        *(
            (WELL | changes, [*expected(known, early), *expected(known, at, name, labels)])
            for name, changes, labels, at, early in CASES
        ),
    ]  # fmt: skip
    cases = [
        {
            "interval": "1m", "alert_rule_test": wanted,
            "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        }
        for series, wanted in tests
    ]  # fmt: skip
    path = tmp_path / "alerts.json"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "tests": cases}))
    assert "11 rules" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(path))
