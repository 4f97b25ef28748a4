"""How far the log is published, and what its witnesses say. Public: whoever relies on them may look."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import log, publication
from ledger.api import render
from ledger.api.operations import TEXT, operation
from ledger.api.outputs import log as outputs
from ledger.api.public import PublicView
from ledger.models import LogEntry, WitnessState
from ledger.tlog.proof_text import InclusionText
from ledger.witness.policy import WitnessAddress
from ledger.workflow.errors import WorkflowError


class Witnesses(PublicView):
    """GET: the policy, the state of each witness, the published size beside the log's own."""

    @operation("Read the state of the witnesses", gives={200: outputs.Witnesses})
    def get(self, _request: Request) -> Response:
        """`alarm` is true where a witness holds another history than this log."""
        rules, head = publication.policy(), log.latest_checkpoint()
        rows = {row.vkey: row for row in WitnessState.objects.all()}
        shown = [_witness(witness, rows.get(witness.vkey)) for witness in rules.witnesses]
        return Response(
            {
                "quorum": rules.quorum,
                "size": log.size(),
                "publishedSize": None if head is None else head.size,
                "publishedAt": None if head is None else render.time(head.created_at),
                "alarm": any(line["alarm"] for line in shown),
                "witnesses": shown,
            }
        )


class EntryProof(PublicView):
    """GET: a leaf's inclusion proof that can be checked offline, C2SP tlog-proof@v1."""

    @operation("Read an inclusion proof that can be checked offline", gives={200: TEXT})
    def get(self, _request: Request, index: int) -> HttpResponse:
        """The proof in the latest checkpoint; the leaf itself is in /log/entries/INDEX."""
        if not LogEntry.objects.filter(index=index).exists():
            raise Http404
        head = log.latest_checkpoint()
        if head is None or index >= head.size:
            raise WorkflowError(
                "not-published", f"no published checkpoint covers log entry {index}: try again in a minute", 404
            )
        proof = InclusionText(index, tuple(log.inclusion(index, head.size)), head.note)
        return HttpResponse(proof.format(), content_type="text/plain; charset=utf-8")


def _witness(witness: WitnessAddress, row: WitnessState | None) -> dict[str, Any]:
    row = row or WitnessState(vkey=witness.vkey)
    return {
        "name": witness.name,
        "vkey": witness.vkey,
        "state": row.state,
        "alarm": row.alarm,
        "message": row.message,
        "size": row.size,
        "askedAt": render.time(row.asked_at),
        "cosignedAt": render.time(row.cosigned_at),
    }
