"""What verdicts and certificates may say about the SRS: what the circuit releases in question say.

With a `development` SRS whoever made it can forge proofs. So no verdict calls it a ceremony's where the release
that the proof was made under does not, and a certificate does so only if those of all its window's orders do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ledger.statements.errors import RuleError
from ledger.statements.predicates import Certificate, CircuitRelease, ContinuationVerdict, Verdict
from ledger.statements.predicates.base import LogRef

if TYPE_CHECKING:
    from ledger.statements.story import Story


def check_verdict(said: Verdict | ContinuationVerdict, circuit: LogRef, story: Story, by: str) -> None:
    """Raise RuleError where a verdict says another provenance than the release of its proof."""
    _expect(said.srs_provenance, story.get(circuit, CircuitRelease, by).srs.provenance, by)


def check_certificate(said: Certificate, found: Collection[str], by: str) -> None:
    """Raise RuleError where a certificate says another provenance than the releases of its window's orders, which
    are `found`; none: any word.
    """
    if found:
        _expect(said.srs_provenance, "ceremony" if set(found) == {"ceremony"} else "development", by)


def _expect(given: str, wanted: str, by: str) -> None:
    if given != wanted:
        raise RuleError(f"{by} calls the SRS {given}; the circuit release says {wanted}")
