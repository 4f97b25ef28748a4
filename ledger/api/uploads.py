"""Files in parts, as enrolled clients send them. The protocol: docs/formats.md, Uploads."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import uploads
from ledger.api import inputs, render
from ledger.api.auth import ClientView
from ledger.api.clients import RawBody
from ledger.api.limits import refuse_larger
from ledger.api.operations import BYTES, operation
from ledger.api.outputs import work as outputs
from ledger.workflow.uploads import begin_upload, complete_upload, give_up_upload, own_upload, take_part


class Uploads(ClientView):
    """POST: begin."""

    @operation(
        "Begin an upload, or find it",
        takes=inputs.NewUpload,
        gives={201: outputs.Upload, 200: outputs.Upload},
        repeatable=True,
    )
    def post(self, request: Request) -> Response:
        """201, or 200 with the upload of this file that is under way, or with `complete` if the client has it."""
        asked = inputs.parse(request, inputs.NewUpload)
        upload, created = begin_upload(self.client, asked.sha256, asked.size, asked.part_size)
        if upload is None:
            return Response(
                {
                    "id": None,
                    "sha256": asked.sha256,
                    "size": asked.size,
                    "complete": True,
                    "partSize": None,
                    "parts": 0,
                    "received": [],
                    "expiresAt": None,
                }
            )
        return Response(render.upload(upload, uploads.parts(upload.uuid)), status=201 if created else 200)


class UploadView(ClientView):
    """One upload; another client's does not exist."""

    @operation("Read an upload", gives={200: outputs.Upload})
    def get(self, _request: Request, upload_id: uuid.UUID) -> Response:
        """Which parts are there, each with its SHA-256."""
        upload = own_upload(self.client, upload_id)
        return Response(render.upload(upload, uploads.parts(upload.uuid)))

    @operation("Give an upload up", gives={204: None})
    def delete(self, _request: Request, upload_id: uuid.UUID) -> HttpResponse:
        """Its parts are destroyed."""
        give_up_upload(self.client, upload_id)
        return HttpResponse(status=204)


class UploadPartView(ClientView):
    """PUT: one part."""

    parser_classes = [RawBody]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Refuse a body that is too large before it is read and its signature checked."""
        refuse_larger(request, settings.LEDGER_PART_LIMIT, "a part")
        super().initial(request, *args, **kwargs)

    @operation("Send a part", takes=BYTES, gives={200: outputs.Upload})
    def put(self, request: Request, upload_id: uuid.UUID, number: int) -> Response:
        """The upload. The signature covers the part's digest (Content-Digest): a part that changed is refused."""
        upload = take_part(self.client, upload_id, number, request._request.body)  # noqa: SLF001
        return Response(render.upload(upload, uploads.parts(upload.uuid)))


class UploadCompletion(ClientView):
    """POST: the end."""

    @operation("Complete an upload", gives={201: outputs.Blob}, repeatable=True)
    def post(self, _request: Request, upload_id: uuid.UUID) -> Response:
        """The stored file; from now on it is like one that was sent whole."""
        blob = complete_upload(self.client, upload_id)
        return Response({"sha256": blob.sha256, "size": blob.size}, status=201)
