"""What can go wrong with a report."""

from __future__ import annotations


class ReportError(ValueError):
    """The report cannot be made like this; the message says what to do."""
