"""The predicates of this ledger, by type URI."""

from __future__ import annotations

from typing import Final

from ledger.statements.predicates.audit_report import AuditReport
from ledger.statements.predicates.base import Predicate
from ledger.statements.predicates.certificate import Certificate
from ledger.statements.predicates.challenge import Challenge
from ledger.statements.predicates.circuit_release import CircuitRelease
from ledger.statements.predicates.claim import Claim
from ledger.statements.predicates.client_enrolment import ClientEnrolment
from ledger.statements.predicates.client_key_addition import ClientKeyAddition
from ledger.statements.predicates.client_key_revocation import ClientKeyRevocation
from ledger.statements.predicates.client_key_rotation import ClientKeyRotation
from ledger.statements.predicates.client_retirement import ClientModelRetirement, ClientRetirement
from ledger.statements.predicates.client_suspension import ClientSuspension
from ledger.statements.predicates.continuation import (
    ContinuationChallenge,
    ContinuationProof,
    ContinuationVerdict,
)
from ledger.statements.predicates.deletion_request import DeletionRequest, RequestDecision, Terms
from ledger.statements.predicates.identity_check import IdentityCheck
from ledger.statements.predicates.key_rotation import KeyRotation
from ledger.statements.predicates.mask import Mask
from ledger.statements.predicates.model_commitment import ModelCommitment
from ledger.statements.predicates.model_release import ModelRelease
from ledger.statements.predicates.model_retirement import ModelRetirement
from ledger.statements.predicates.order import Order
from ledger.statements.predicates.order_exception import OrderException
from ledger.statements.predicates.order_objection import OrderObjection
from ledger.statements.predicates.proof import Proof
from ledger.statements.predicates.request_acknowledgement import RequestAcknowledgement
from ledger.statements.predicates.request_closure import RequestClosure
from ledger.statements.predicates.request_extension import RequestExtension
from ledger.statements.predicates.request_fulfilment import RequestFulfilment
from ledger.statements.predicates.request_hold import RequestHold
from ledger.statements.predicates.subject_access import SubjectAccess
from ledger.statements.predicates.tombstone import Tombstone
from ledger.statements.predicates.verdict import Verdict
from ledger.statements.predicates.window_close import WindowClose
from ledger.statements.predicates.window_outcomes import WindowOutcomes
from ledger.statements.predicates.window_requests import WindowRequests

PREDICATES: Final[dict[str, type[Predicate]]] = {
    kind.type_uri(): kind
    for kind in (
        CircuitRelease, ModelRelease, ClientEnrolment, ModelCommitment, DeletionRequest, RequestDecision,
        WindowClose, Mask, Order, Claim, Challenge, Proof, Verdict, Certificate, KeyRotation,
        ClientKeyRevocation, Tombstone, ClientSuspension, ModelRetirement, OrderException, RequestFulfilment,
        RequestAcknowledgement, IdentityCheck, RequestExtension, RequestHold, RequestClosure,
        SubjectAccess,
        OrderObjection,
        ClientKeyAddition, ClientKeyRotation, ClientRetirement, ClientModelRetirement,
        ContinuationChallenge, ContinuationProof, ContinuationVerdict,
        AuditReport,
        WindowRequests, WindowOutcomes,
    )
}  # fmt: skip

__all__ = [
    "PREDICATES", "AuditReport", "Certificate", "Challenge", "CircuitRelease", "Claim", "ClientEnrolment",
    "ClientKeyAddition", "ClientKeyRevocation", "ClientKeyRotation", "ClientModelRetirement", "ClientRetirement",
    "ClientSuspension", "ContinuationChallenge", "ContinuationProof", "ContinuationVerdict",
    "DeletionRequest", "IdentityCheck", "KeyRotation", "Mask",
    "ModelCommitment", "ModelRelease", "ModelRetirement", "Order", "OrderException", "OrderObjection",
    "Predicate", "Proof", "RequestAcknowledgement", "RequestClosure", "RequestDecision", "RequestExtension",
    "RequestFulfilment", "RequestHold", "SubjectAccess", "Terms", "Tombstone", "Verdict", "WindowClose",
    "WindowOutcomes", "WindowRequests",
]  # fmt: skip
