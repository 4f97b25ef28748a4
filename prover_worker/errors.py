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


class VerifierBroke(RuntimeError):  # noqa: N818 - of no input's making, hence no ProverError
    """A process died or hung, or a machine miscalculated, while proofs were verified. Nothing was found out about
    them; doing it again may pass.
    """


class ProvingFailed(ProverError):  # noqa: N818 - a proof that could not be made is an outcome, not a fault
    """The backend could not make a proof for this witness, as for a digit outside the lookup table."""


class OutOfMemory(ProvingFailed):
    """A process got no more memory, or was killed, as the kernel does to the largest one where memory runs out."""


class AgentError(ProverError):
    """The agent cannot go on: what it has, what it needs and what to do are in the text."""


class LedgerAway(AgentError):  # noqa: N818 - nobody's fault, and over sooner or later
    """The ledger does not answer, or asks to be left alone. The same command goes on later.

    `retry_after` is what the ledger asked for, in seconds, if it did.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Refused(AgentError):  # noqa: N818 - an answer, not a fault
    """The ledger has answered a request with an error of the given HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class LimitExceeded(AgentError):  # noqa: N818 - a decision, not a fault
    """An order would damage the model beyond the client's own limit. Nothing was logged."""


class AuditError(ProverError):
    """An audit bundle in which something does not hold. The text names the first such thing."""


class AuditUnavailable(ProverError):  # noqa: N818 - not a fault of what is checked
    """A check that was asked for and cannot be made here. The text says what would make it possible."""
