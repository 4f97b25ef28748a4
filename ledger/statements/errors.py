"""What signed statements and keys raise on bad input, and the two comparisons of which most rules are made."""

from __future__ import annotations


class StatementError(ValueError):
    """Base of all errors of this package, and itself: bytes that are no statement of this ledger."""


class EnvelopeError(StatementError):
    """Bytes that are no DSSE envelope, or one outside our limits."""


class SignatureError(StatementError):
    """An envelope or a request that the expected key has not signed."""


class KeyMaterialError(StatementError):
    """A key, or the file of one, that cannot be used."""


class RuleError(StatementError):
    """A statement that may not stand where it stands in the log."""


class PolicyError(RuleError):
    """A statement about coverage, quorum or dates that its policy and the statements before it do not give."""


def same(got: object, wanted: object, otherwise: str) -> None:
    """Raise RuleError with the sentence `otherwise` unless `got` is `wanted`."""
    if got != wanted:
        raise RuleError(otherwise)


def same_value(got: object, wanted: object, what: str) -> None:
    """Raise PolicyError, naming `what`, unless a value that a statement gives is the one that follows."""
    if got != wanted:
        raise PolicyError(f"{what} is {got}, expected {wanted}")
