"""What witnessing raises on bad input."""

from __future__ import annotations


class WitnessError(ValueError):
    """Base of all errors of this package."""


class RequestError(WitnessError):
    """Bytes that are no add-checkpoint request."""


class StateError(WitnessError):
    """What the witness keeps is damaged, or belongs to another key: it must not answer from it."""


class PolicyError(WitnessError):
    """A list of witnesses, or a quorum, that makes no sense."""
