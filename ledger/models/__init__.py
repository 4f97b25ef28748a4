"""The tables of the ledger, one file per aggregate."""

from __future__ import annotations

from ledger.models.access import ApiToken, ModelLimit, RecoveryCode, SecondFactor
from ledger.models.blobs import Blob
from ledger.models.bulk import BulkRow, BulkRun
from ledger.models.checks import FsckRun
from ledger.models.cosignatures import CheckpointProposal, Cosignature, WitnessState
from ledger.models.datasets import DatasetIndex, IndexedSample
from ledger.models.events import Event
from ledger.models.exports import Export, ExportStep
from ledger.models.http import KeptAnswer, RateBucket
from ledger.models.jobs import Job
from ledger.models.log import Checkpoint, LogEntry, LogNode
from ledger.models.objections import Objection
from ledger.models.parties import CircuitRelease, Client, ClientKey, ClientModel, GlobalModel
from ledger.models.proofs import Certificate, Challenge, Claim, Continuation, ProofSubmission, VerdictRecord
from ledger.models.requests import (
    Approval,
    DeletionRequest,
    IdentityCheck,
    LegalHold,
    RegulationTerms,
    RequestImport,
)
from ledger.models.subject_access import SubjectAccess
from ledger.models.uploads import Upload
from ledger.models.vault import SubjectRecord, VaultKey
from ledger.models.views import SavedView
from ledger.models.webhooks import CallbackCursor, WebhookDelivery, WebhookEndpoint
from ledger.models.windows import Order, OrderNotice, Policy, Suspension, Window

__all__ = [
    "ApiToken", "Approval", "Blob", "BulkRow", "BulkRun", "CallbackCursor", "Certificate", "Challenge",
    "Checkpoint", "CheckpointProposal", "CircuitRelease", "Claim", "Client", "ClientKey", "ClientModel",
    "Continuation", "Cosignature", "DatasetIndex", "DeletionRequest", "Event", "Export", "ExportStep", "FsckRun",
    "GlobalModel", "IdentityCheck", "IndexedSample", "Job", "KeptAnswer", "LegalHold", "LogEntry", "LogNode",
    "ModelLimit", "Objection", "Order", "OrderNotice", "Policy", "ProofSubmission", "RateBucket", "RecoveryCode",
    "RegulationTerms", "RequestImport", "SavedView", "SecondFactor", "SubjectAccess", "SubjectRecord",
    "Suspension", "Upload", "VaultKey", "VerdictRecord", "WebhookDelivery", "WebhookEndpoint", "Window",
    "WitnessState",
]  # fmt: skip
