"""What anybody may read, and the door for signed statements. Rate-limited."""

from __future__ import annotations

import base64
import logging

from django.http import Http404, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from ledger import keys, log
from ledger.api import render
from ledger.api.limits import BadTokens, refuse_larger
from ledger.models import Checkpoint, CircuitRelease, GlobalModel, LogEntry
from ledger.statements.dsse import MAX_ENVELOPE_BYTES
from ledger.statements.keys import public_hex
from ledger.tlog.errors import ProofError
from ledger.workflow.errors import WorkflowError
from ledger.workflow.intake import accept_statement

logger = logging.getLogger(__name__)


class PublicView(APIView):
    """Base: no credentials, a limit per address."""

    permission_classes = []
    throttle_classes = [ScopedRateThrottle]
    throttle_scope = "public"


class Statements(PublicView):
    """POST: a DSSE envelope. It carries its own signature; an enrolment also needs the Enrolment-Token
    header.
    """

    throttle_scope = "statements"

    def post(self, request: Request) -> Response:
        """201 with the log entry; 200 if the statement was there already."""
        refuse_larger(request, MAX_ENVELOPE_BYTES, "a statement's envelope")
        http = request._request  # noqa: SLF001 - the very bytes that were sent
        token, bad_tokens = http.headers.get("Enrolment-Token", ""), BadTokens()
        if token and not bad_tokens.allow_request(request, self):
            self.throttled(request, bad_tokens.wait() or 1.0)
        try:
            accepted = accept_statement(http.body, token)
        except WorkflowError as error:
            if error.code in BadTokens.COUNTED:
                bad_tokens.count(request, self)
                logger.warning("an enrolment token was refused (%s): %s", error.code, error.sentence)
            raise
        return Response(render.entry(accepted.entry), status=201 if accepted.created else 200)


class Releases(PublicView):
    """GET: whose signatures to expect, the current circuit release, all global models."""

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

    def get(self, _request: Request) -> HttpResponse:
        """text/plain, C2SP tlog-checkpoint."""
        return HttpResponse(_head().note, content_type="text/plain; charset=utf-8")


class Entry(PublicView):
    """GET: one leaf."""

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

    def get(self, _request: Request) -> Response:
        """{rotations: [{index, envelope}]}, oldest first; each is signed by the key before."""
        found = [
            {"index": index, "envelope": base64.b64encode(envelope.to_bytes()).decode()}
            for index, envelope in keys.rotations()
        ]
        return Response({"rotations": found})


class Consistency(PublicView):
    """GET ?old=&new=: that one published checkpoint extends another."""

    def get(self, request: Request) -> Response:
        """The proof, base64 hashes (RFC 9162 section 2.1.4)."""
        old, new = _size(request, "old"), _size(request, "new")
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


def _size(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise WorkflowError("bad-sizes", f"{name} is a tree size in decimal digits, got {text[:80]!r}", 422)
    return int(text)
