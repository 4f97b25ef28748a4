"""The one door for clients' statements: looks at the kind and hands over to the use case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledger.statements.errors import StatementError
from ledger.statements.predicates import (
    Claim,
    ClientEnrolment,
    ClientKeyAddition,
    ClientKeyRevocation,
    ClientKeyRotation,
    ClientModelRetirement,
    ContinuationProof,
    ModelCommitment,
    OrderObjection,
    Proof,
)
from ledger.statements.statement import Statement
from ledger.workflow.claims import accept_claim
from ledger.workflow.client_keys import add_key, revoke_own_key, rotate_key
from ledger.workflow.clients import enrol_client
from ledger.workflow.commitments import accept_commitment, accept_model_retirement
from ledger.workflow.continuations import accept_continuation_proof
from ledger.workflow.errors import WorkflowError
from ledger.workflow.objections import accept_objection
from ledger.workflow.proofs import accept_proof
from ledger.workflow.step import Accepted, parse_envelope

_DOORS: Final[dict[str, Callable[[bytes], Accepted]]] = {
    ModelCommitment.type_uri(): accept_commitment,
    Claim.type_uri(): accept_claim,
    Proof.type_uri(): accept_proof,
    OrderObjection.type_uri(): accept_objection,
    ClientKeyAddition.type_uri(): add_key,
    ClientKeyRotation.type_uri(): rotate_key,
    ClientKeyRevocation.type_uri(): revoke_own_key,
    ClientModelRetirement.type_uri(): accept_model_retirement,
    ContinuationProof.type_uri(): accept_continuation_proof,
}


def accept_statement(body: bytes, token: str) -> Accepted:
    """Log a client's statement of whichever kind. `token` is the enrolment token, empty for other statements.

    Raises WorkflowError as the use cases do; statements that only the provider makes are refused (422).
    """
    envelope = parse_envelope(body)
    try:
        # Read before it is verified, to choose the use case only; that one verifies before it believes.
        kind = Statement.decode(envelope.payload).predicate_type
    except StatementError as error:
        raise WorkflowError("bad-statement", str(error), 422) from error
    if kind == ClientEnrolment.type_uri():
        return enrol_client(body, token)
    if kind not in _DOORS:
        raise WorkflowError("wrong-kind", f"{kind} statements are made by the provider, not sent in", 422)
    return _DOORS[kind](body)
