"""What anybody may read, and the door for signed statements. Rate-limited."""

from __future__ import annotations

import base64
import logging
from typing import Final

from django.http import Http404, HttpResponse
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ledger import keys, log
from ledger.access import rates
from ledger.api import render
from ledger.api.inputs import Input
from ledger.api.limits import refuse_larger
from ledger.api.operations import TEXT, Media, operation
from ledger.api.outputs import log as outputs
from ledger.api.paging import query
from ledger.api.view import ApiView
from ledger.models import Checkpoint, CircuitRelease, GlobalModel, LogEntry
from ledger.statements.dsse import MAX_ENVELOPE_BYTES
from ledger.statements.keys import public_hex
from ledger.tlog.errors import ProofError
from ledger.workflow.errors import WorkflowError
from ledger.workflow.intake import accept_statement

logger = logging.getLogger(__name__)


#: Refusals that whoever tries tokens at random would see. Right tokens do not count.
BAD_TOKENS: Final = frozenset({"unknown-token", "token-used", "token-expired"})


class PublicView(ApiView):
    """Base: no credentials, a limit per address."""

    permission_classes = []


class Statements(PublicView):
    """POST: a DSSE envelope. It carries its own signature; an enrolment also needs the Enrolment-Token
    header.
    """

    throttle_scope = "statements"

    @operation(
        "Log a signed statement",
        takes=Media("application/json"),
        gives={201: outputs.Entry, 200: outputs.Entry},
        headers=("Enrolment-Token",),
        refuses=(401, 403, 404),
        repeatable=True,
    )
    def post(self, request: Request) -> Response:
        """201 with the log entry; 200 if the statement was there already."""
        refuse_larger(request, MAX_ENVELOPE_BYTES, "a statement's envelope")
        http = request._request  # noqa: SLF001 - the very bytes that were sent
        token = http.headers.get("Enrolment-Token", "")
        if token:
            self.refuse_exhausted("bad-tokens")
        try:
            accepted = accept_statement(http.body, token)
        except WorkflowError as error:
            if error.code in BAD_TOKENS:
                rates.spend("bad-tokens", self.address)
                logger.warning("an enrolment token was refused (%s): %s", error.code, error.sentence)
            raise
        return Response(render.entry(accepted.entry), status=201 if accepted.created else 200)


class Releases(PublicView):
    """GET: whose signatures to expect, the current circuit release, all global models."""

    @operation("Read keys, circuit release and models", gives={200: outputs.Releases})
    def get(self, _request: Request) -> Response:
        """Predicates, log references, digests of the files."""
        circuit = CircuitRelease.objects.order_by("-entry").first()
        return Response(
            {
                "log": {"origin": keys.log_signer().name, "vkey": keys.log_signer().vkey},
                "providerKey": public_hex(keys.provider_key()),
                "circuit": None if circuit is None else render.circuit(circuit),
                "models": [render.model(row) for row in GlobalModel.objects.order_by("entry")],
            }
        )


class LatestCheckpoint(PublicView):
    """GET: the latest signed note."""

    @operation("Read the latest checkpoint", gives={200: TEXT}, refuses=(404,))
    def get(self, _request: Request) -> HttpResponse:
        """text/plain, C2SP tlog-checkpoint."""
        return HttpResponse(_head().note, content_type="text/plain; charset=utf-8")


class Entry(PublicView):
    """GET: one leaf."""

    @operation("Read a log entry", gives={200: outputs.FullEntry})
    def get(self, _request: Request, index: int) -> Response:
        """Its envelope, and its inclusion proof in the latest checkpoint; null until one covers it."""
        entry = LogEntry.objects.filter(index=index).first()
        if entry is None:
            raise Http404
        head = log.latest_checkpoint()
        covered = head is not None and index < head.size
        proof = render.hashes(log.inclusion(index, head.size)) if covered and head is not None else None
        return Response(
            render.entry(entry)
            | {
                "envelope": base64.b64encode(bytes(entry.envelope)).decode(),
                "checkpoint": head.note if covered and head is not None else None,
                "proof": proof,
            }
        )


class Rotations(PublicView):
    """GET: how the log's and the provider's keys have changed."""

    @operation("List rotations of keys", gives={200: outputs.Rotations})
    def get(self, _request: Request) -> Response:
        """{rotations: [{index, envelope}]}, oldest first; each is signed by the key before."""
        found = [
            {"index": index, "envelope": base64.b64encode(envelope.to_bytes()).decode()}
            for index, envelope in keys.rotations()
        ]
        return Response({"rotations": found})


class Sizes(Input):
    """Two tree sizes."""

    old: int = Field(ge=0, lt=10**15)
    new: int = Field(ge=0, lt=10**15)


class Consistency(PublicView):
    """GET ?old=&new=: that one published checkpoint extends another."""

    @operation(
        "Prove that one checkpoint extends another", query=Sizes, gives={200: outputs.Consistency}, refuses=(404,)
    )
    def get(self, request: Request) -> Response:
        """The proof, base64 hashes (RFC 9162 section 2.1.4)."""
        asked = query(request, Sizes, "bad-sizes")
        old, new = asked.old, asked.new
        if new > _head().size:
            raise WorkflowError(
                "not-published", f"the latest checkpoint has size {_head().size}, got new={new}", 422
            )
        try:
            proof = log.consistency(old, new)
        except ProofError as error:
            raise WorkflowError("bad-sizes", str(error), 422) from error
        return Response({"old": old, "new": new, "proof": render.hashes(proof)})


class Nothing(APIView):
    """Every other address under /api/v1."""

    schema = None

    permission_classes = []

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """404, whatever the method and whoever asks."""
        del args, kwargs
        raise Http404(request.path)


def _head() -> Checkpoint:
    head = log.latest_checkpoint()
    if head is None:
        raise WorkflowError("no-checkpoint", "no checkpoint has been published yet: try again in a minute", 404)
    return head
