"""Figures for Prometheus, all read from the database when they are asked for: every web process says the same.

Nothing here names a client, a person or an officer. `docs/alerts.yml` has rules over these names, and a test sees
that each of them exists.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from ledger import log
from ledger.models import DeletionRequest, FsckRun, Job, VerdictRecord, WitnessState
from ledger.statements import lifecycle
from ledger.workflow.silence import silent_orders


def text() -> bytes:
    """All figures in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ledger())
    return generate_latest(registry)


class _Ledger:
    """A collector: asked once for each scrape."""

    def collect(self) -> Iterator[Metric]:
        """Every family, each one or two queries."""
        yield from _log()
        yield from _witnesses()
        yield from _jobs()
        yield from _requests()
        yield from _checks()


def _one(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ledger_{name}", meaning, value=value)


def _log() -> Iterator[Metric]:
    size, head = log.size(), log.latest_checkpoint()
    yield _one("log_entries", "entries of the log", size)
    yield _one("log_unpublished_entries", "entries that no checkpoint covers", size - (head.size if head else 0))
    if head is not None:
        age = (timezone.now() - head.created_at).total_seconds()
        yield _one("checkpoint_age_seconds", "since the last checkpoint was published", age)


def _witnesses() -> Iterator[Metric]:
    size = log.size()
    lag = GaugeMetricFamily("ledger_witness_lag_entries", "entries not cosigned by the witness", labels=["witness"])
    alarm = GaugeMetricFamily(
        "ledger_witness_alarm", "1: it has cosigned another history, or entries that are gone", labels=["witness"]
    )
    for row in WitnessState.objects.all():
        lag.add_metric([row.name], max(size - row.size, 0))
        alarm.add_metric([row.name], float(row.alarm))
    yield from (lag, alarm)


def _jobs() -> Iterator[Metric]:
    jobs = GaugeMetricFamily("ledger_jobs", "jobs by kind and state", labels=["kind", "state"])
    counted = Job.objects.values("kind", "state").order_by().annotate(count=Count("pk"))
    known = {(row["kind"], row["state"]): row["count"] for row in counted}
    for kind in Job.Kind.values:
        for state in Job.State.values:
            jobs.add_metric([kind, state], known.get((kind, state), 0))
    yield jobs
    oldest = Job.objects.filter(state=Job.State.QUEUED).aggregate(since=Min("created_at"))["since"]
    waited = 0.0 if oldest is None else (timezone.now() - oldest).total_seconds()
    yield _one("job_oldest_seconds", "how long the oldest job that no worker has taken waits", waited)


def _requests() -> Iterator[Metric]:
    now = timezone.now()
    requests = GaugeMetricFamily("ledger_requests", "deletion requests by state", labels=["state"])
    counted = DeletionRequest.objects.values("state").order_by().annotate(count=Count("pk"))
    for row in counted:
        requests.add_metric([row["state"]], row["count"])
    yield requests
    late = DeletionRequest.objects.filter(state__in=lifecycle.LIVE, due_at__lt=now).count()
    yield _one("requests_overdue", "requests whose due date is over and which are not", late)
    silent = silent_orders().filter(due_at__lt=now).count()
    yield _one("orders_overdue", "orders whose due date is over and whose client has not answered", silent)
    verdicts = GaugeMetricFamily("ledger_verdicts", "verdicts by result", labels=["result"])
    for result, accepted in (("accepted", True), ("rejected", False)):
        verdicts.add_metric([result], VerdictRecord.objects.filter(accepted=accepted).count())
    yield verdicts


def _checks() -> Iterator[Metric]:
    last = FsckRun.objects.order_by("-started_at").first()
    if last is not None:
        age = (timezone.now() - last.started_at).total_seconds()
        yield _one("check_age_seconds", "since the log and its tables were last checked", age)
        yield _one("check_problem", "1: that check found something wrong", float(bool(last.problem)))
