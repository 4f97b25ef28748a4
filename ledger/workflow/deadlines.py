"""When a deletion request must be answered.

GDPR and UK GDPR Art. 12(3): one month, counted to the same day of the next month, or its last day (Regulation
1182/71 Art. 3). CCPA regulations §7021: 45 days. LGPD Art. 19: 15 days. Anything else: 30 days.
"""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = {"ccpa": 45, "lgpd": 15, "other": 30}


def due_at(regulation: str, received_at: datetime) -> datetime:
    """The last moment to answer a request received at `received_at`."""
    if regulation in DAYS:
        return received_at + timedelta(days=DAYS[regulation])
    year, month = received_at.year + received_at.month // 12, received_at.month % 12 + 1
    day = min(received_at.day, calendar.monthrange(year, month)[1])
    return received_at.replace(year=year, month=month, day=day)
