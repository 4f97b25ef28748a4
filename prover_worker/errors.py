"""What can go wrong while committing, proving and verifying."""

from __future__ import annotations


class ProverError(ValueError):
    """Base of every error of this package. Its text is one sentence for the person at the keyboard."""


class PointError(ProverError):
    """Bytes that are not a point of BN254's G1, or a file of points of the wrong length."""


class BundleError(ProverError):
    """A proof bundle that does not follow its format."""


class CircuitError(ProverError):
    """A circuit, key or SRS that is missing, does not match its digest, or was refused by the backend."""


class ProvingFailed(ProverError):  # noqa: N818 - a proof that could not be made is an outcome, not a fault
    """The backend could not make a proof for this witness, as for a digit outside the lookup table."""


class AgentError(ProverError):
    """The agent cannot go on: what it has, what it needs and what to do are in the text."""


class AuditError(ProverError):
    """An audit bundle in which something does not hold. The text names the first such thing."""
