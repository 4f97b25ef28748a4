"""When a deletion request must be answered, and what an extension makes of that.

- GDPR and UK GDPR Art. 12(3): one month, counted to the same day of the next month, or its last day (Regulation
  1182/71 Art. 3); two further months if the person is told within the first.
- CCPA/CPRA regulations §7021: 45 calendar days, another 45 with notice; receipt confirmed within 10 business days.
- LGPD Art. 19: 15 days, no extension.
- Anything else: what the provider has configured; 30 days by default.

Periods end at the time of day at which they began. Business days are Monday to Friday in UTC. Public holidays count
as business days, and a period that ends on one is not prolonged: laws differ by place, and a date computed like
this is never later than the law's.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ledger.statements.errors import RuleError
from ledger.statements.predicates.deletion_request import Terms

#: The most that the laws allow.
LAW: Final[dict[str, Terms]] = {
    "gdpr": Terms(months=1, days=0, extension_months=2),
    "uk-gdpr": Terms(months=1, days=0, extension_months=2),
    "ccpa": Terms(months=0, days=45, extension_days=45, acknowledge_business_days=10),
    "lgpd": Terms(months=0, days=15),
}
OTHER: Final = Terms(months=0, days=30)
_EVERY_DAY: Final = [datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(1461)]


def terms_by_law(regulation: str) -> Terms:
    """What counts where a statement names no terms of its own."""
    return LAW.get(regulation, OTHER)


def due_at(received_at: datetime, terms: Terms) -> datetime:
    """The last moment to answer a request received at `received_at`."""
    return add_months(received_at, terms.months) + timedelta(days=terms.days)


def extended_due_at(received_at: datetime, terms: Terms) -> datetime:
    """The same after an extension: both periods are counted from the receipt."""
    months, days = terms.months + terms.extension_months, terms.days + terms.extension_days
    return add_months(received_at, months) + timedelta(days=days)


def acknowledge_by(received_at: datetime, terms: Terms) -> datetime | None:
    """The last moment to confirm the receipt; None where nobody asks for that."""
    if not terms.acknowledge_business_days:
        return None
    return add_business_days(received_at, terms.acknowledge_business_days)


def add_months(moment: datetime, months: int) -> datetime:
    """The same day `months` later, or that month's last day."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def add_business_days(moment: datetime, days: int) -> datetime:
    """`days` business days later; the day of `moment` itself is not counted."""
    while days:
        moment += timedelta(days=1)
        days -= moment.weekday() < calendar.SATURDAY
    return moment


@lru_cache(maxsize=1_000)
def expect_lawful(regulation: str, terms: Terms) -> None:
    """Raise RuleError if `terms` may give the provider more time than the law does, or none at all."""
    if not terms.months + terms.days:
        raise RuleError(f"the terms of {regulation} leave no time to answer: give months or days")
    law = LAW.get(regulation)
    if law is None:
        return
    for what, last in (("first period", due_at), ("extended period", extended_due_at)):
        if not _never_later(last, terms, law):
            raise RuleError(
                f"the {what} of {regulation} is longer than the law allows ({_words(law)}), got {_words(terms)}: "
                "terms may be stricter than the law, not laxer"
            )
    if terms.extendable and terms.notice != law.notice:
        raise RuleError(f"an extension under {regulation} needs a notice inside the first period")
    most = law.acknowledge_business_days
    if most and not 0 < terms.acknowledge_business_days <= most:
        raise RuleError(
            f"{regulation} asks to confirm receipt within {most} business days, "
            f"got {terms.acknowledge_business_days}"
        )


def _never_later(last: Callable[[datetime, Terms], datetime], terms: Terms, law: Terms) -> bool:
    """Months and days have no fixed ratio, so every day of four years is tried."""
    return all(last(day, terms) <= last(day, law) for day in _EVERY_DAY)


def _words(terms: Terms) -> str:
    first = f"{terms.months} months and {terms.days} days"
    return f"{first}, extendable by {terms.extension_months} months and {terms.extension_days} days"
