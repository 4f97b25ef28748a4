"""Due dates by law, business days, extensions; and that nobody moves a date in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from ledger import log, models
from ledger.fsck.errors import FsckError
from ledger.statements import predicates
from ledger.statements.deadlines import (
    LAW,
    OTHER,
    acknowledge_by,
    add_business_days,
    due_at,
    expect_lawful,
    extended_due_at,
)
from ledger.statements.errors import RuleError
from ledger.statements.predicates import Terms
from ledger.statements.predicates.base import LogRef
from ledger.statements.rules import check
from ledger.statements.story import Story as Rules
from ledger.workflow import request_steps
from ledger.workflow.terms import change_terms, terms_row
from tests.ledger.requests.parts import ANN, days_later, filed, holds, kinds, refused, verified

pytestmark = pytest.mark.django_db


def day(*parts: int) -> datetime:
    return datetime(*parts, 9, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("regulation", "received", "due", "extended"),
    [
        ("gdpr", (2026, 1, 31), (2026, 2, 28), (2026, 4, 30)),
        ("gdpr", (2028, 1, 31), (2028, 2, 29), (2028, 4, 30)),
        ("gdpr", (2026, 11, 30), (2026, 12, 30), (2027, 2, 28)),
        ("uk-gdpr", (2026, 12, 15), (2027, 1, 15), (2027, 3, 15)),
        ("ccpa", (2026, 1, 1), (2026, 2, 15), (2026, 4, 1)),
        ("lgpd", (2026, 1, 20), (2026, 2, 4), (2026, 2, 4)),
        ("other", (2026, 3, 1), (2026, 3, 31), (2026, 3, 31)),
    ],
)
def test_the_law(regulation: str, received: tuple, due: tuple, extended: tuple) -> None:
    terms = LAW.get(regulation, OTHER)
    assert due_at(day(*received), terms) == day(*due)
    assert extended_due_at(day(*received), terms) == day(*extended)


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ((2026, 1, 2), 1, (2026, 1, 5)),  # a Friday: Monday is the first
        ((2026, 1, 3), 1, (2026, 1, 5)),  # so it is for a Saturday
        ((2026, 1, 4), 1, (2026, 1, 5)),
        ((2026, 1, 5), 10, (2026, 1, 19)),
        ((2025, 12, 24), 10, (2026, 1, 7)),  # public holidays count as business days
        ((2026, 1, 5), 0, (2026, 1, 5)),
    ],
)
def test_business_days(start: tuple, days: int, end: tuple) -> None:
    assert add_business_days(day(*start), days) == day(*end)


def test_only_the_ccpa_asks_to_confirm_receipt() -> None:
    assert acknowledge_by(day(2026, 1, 5), LAW["ccpa"]) == day(2026, 1, 19)
    assert acknowledge_by(day(2026, 1, 5), LAW["gdpr"]) is None


@pytest.mark.parametrize(
    ("regulation", "terms", "words"),
    [
        ("gdpr", Terms(months=1, days=1), "first period of gdpr is longer"),
        ("gdpr", Terms(months=0, days=31), "first period of gdpr is longer"),  # February has 28
        ("gdpr", Terms(months=1, days=0, extension_months=3), "extended period of gdpr"),
        ("gdpr", Terms(months=1, days=0, extension_months=2, notice="none"), "needs a notice"),
        ("ccpa", Terms(months=0, days=46, acknowledge_business_days=10), "first period of ccpa"),
        ("ccpa", Terms(months=0, days=45), "confirm receipt within 10"),
        ("ccpa", Terms(months=0, days=45, acknowledge_business_days=11), "got 11"),
        ("lgpd", Terms(months=0, days=15, extension_days=1), "extended period of lgpd"),
        ("other", Terms(months=0, days=0), "no time to answer"),
    ],
)
def test_terms_are_never_laxer_than_the_law(regulation: str, terms: Terms, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        expect_lawful(regulation, terms)
    with refused("bad-terms", 422):
        change_terms(regulation, terms.model_dump(), actor=ANN)


def test_stricter_terms_count_from_then_on() -> None:
    before = filed(subject="early")
    change_terms("gdpr", {"months": 0, "days": 20, "extension_months": 1}, actor=ANN)
    after = filed(subject="late")
    assert before.due_at == due_at(before.received_at, LAW["gdpr"])
    assert after.due_at == after.received_at + timedelta(days=20)
    said = log.statement(after.filed_entry).predicate
    assert isinstance(said, predicates.DeletionRequest)
    assert said.terms == Terms(months=0, days=20, extension_months=1)
    event = models.Event.objects.get(kind="terms.changed")
    assert (event.actor_name, event.data["before"]["months"], event.data["after"]["days"]) == ("ann", 1, 20)
    holds()


def test_other_laws_have_terms_of_ones_own() -> None:
    change_terms("other", {"months": 2, "days": 0, "acknowledge_business_days": 5, "notice": "none"}, actor=ANN)
    request = filed("other")
    assert request.due_at == due_at(request.received_at, Terms(months=2, days=0))
    assert request.acknowledge_by == add_business_days(request.received_at, 5)
    with refused("bad-terms", 422):
        change_terms("other", {"weeks": 1}, actor=ANN)
    with refused("bad-regulation", 422):
        change_terms("hipaa", {"days": 1}, actor=ANN)
    assert terms_row("gdpr").months == 1


class TestExtension:
    def test_two_months_more(self) -> None:
        request = verified()
        told = timezone.now()
        request = request_steps.extend(request.uuid, "complexity", told, actor=ANN)
        assert request.due_at == extended_due_at(request.received_at, LAW["gdpr"])
        assert kinds(request)[-1] == "request.extended"
        said = log.statement(request.extension_entry).predicate  # type: ignore[arg-type]
        assert isinstance(said, predicates.RequestExtension)
        assert (said.due_at, said.reason) == (request.due_at, "complexity")
        holds()

    def test_once(self) -> None:
        request = filed("ccpa")
        request_steps.extend(request.uuid, "necessary", timezone.now())
        with refused("already-extended", 409):
            request_steps.extend(request.uuid, "necessary", timezone.now())

    def test_not_after_its_deadline(self) -> None:
        request = filed()
        with days_later(40), refused("too-late", 409):
            request_steps.extend(request.uuid, "complexity", request.received_at)

    def test_the_person_is_told_inside_the_first_period(self) -> None:
        request = filed(received_at=timezone.now() - timedelta(days=3))
        with refused("no-notice", 422):
            request_steps.extend(request.uuid, "complexity")
        for wrong in (
            request.received_at - timedelta(days=1), timezone.now() + timedelta(days=1), datetime(2026, 1, 1),  # noqa: DTZ001
        ):  # fmt: skip
            with refused("bad-notice", 422):
                request_steps.extend(request.uuid, "complexity", wrong)

    def test_where_no_notice_is_needed(self) -> None:
        change_terms("other", {"extension_days": 10, "notice": "none"})
        request = request_steps.extend(filed("other").uuid, "complexity")
        assert request.due_at == request.received_at + timedelta(days=40)
        holds()

    def test_not_under_a_law_without_one(self) -> None:
        request = filed("lgpd")
        with refused("no-extension", 409):
            request_steps.extend(request.uuid, "complexity", timezone.now())

    def test_reasons_are_codes(self) -> None:
        request = filed()
        with refused("bad-reason", 422):
            request_steps.extend(request.uuid, "Ada is difficult", timezone.now())


@pytest.mark.parametrize("column", ["due_at", "acknowledge_by"])
def test_a_date_moved_in_the_database_is_found(column: str) -> None:
    request = filed("ccpa")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ledger_deletionrequest SET {column} = {column} + interval '1 day'")
    with pytest.raises(FsckError, match=f"{request.uuid} has {column} "):
        holds()


NOW = datetime(2026, 3, 1, tzinfo=UTC)
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def said(**changes: object) -> predicates.DeletionRequest:
    made = predicates.DeletionRequest(
        request=UUID, commitment="ab" * 32, regulation="gdpr", received_at=NOW, due_at=due_at(NOW, LAW["gdpr"])
    )
    return made.model_copy(update=changes)


def extension(**changes: object) -> predicates.RequestExtension:
    made = predicates.RequestExtension(
        request=UUID, filed=LogRef(index=0, leaf_hash="00" * 32), reason="complexity",
        notified_at=NOW + timedelta(days=1), extended_at=NOW + timedelta(days=2),
        due_at=extended_due_at(NOW, LAW["gdpr"]),
    )  # fmt: skip
    return made.model_copy(update=changes)


class TestRules:
    """A provider that logs what its terms do not give, where any reader of the log can see it."""

    def test_a_later_due_date(self) -> None:
        check(Rules(), 0, said())
        with pytest.raises(RuleError, match="its terms give 2026-04-01"):
            check(Rules(), 0, said(due_at=NOW + timedelta(days=60)))

    def test_terms_laxer_than_the_law(self) -> None:
        lax = Terms(months=2, days=0)
        with pytest.raises(RuleError, match="not laxer"):
            check(Rules(), 0, said(terms=lax, due_at=due_at(NOW, lax)))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"due_at": NOW + timedelta(days=200)}, "its terms give 2026-06-01"),
            ({"extended_at": NOW + timedelta(days=32)}, "after the first period's end"),
            ({"notified_at": None}, "needs a notice"),
            ({"notified_at": NOW + timedelta(days=40)}, "needs a notice"),
        ],
    )
    def test_extensions(self, changes: dict, words: str) -> None:
        story = Rules()
        story.add(0, bytes(32), said())
        with pytest.raises(RuleError, match=words):
            check(story, 1, extension(**changes))
        check(story, 1, extension())
        story.add(1, bytes(32), extension())
        with pytest.raises(RuleError, match="the second request-extension"):
            check(story, 2, extension(reason="necessary"))
