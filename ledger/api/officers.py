"""What the provider's officers do. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs, render
from ledger.api.auth import OfficerView
from ledger.models import Window
from ledger.workflow.bundle import audit_bundle
from ledger.workflow.certificates import certify
from ledger.workflow.clients import invite_client, reenrol_client
from ledger.workflow.step import get_or_refuse
from ledger.workflow.windows import close_window, open_window


class Clients(OfficerView):
    """POST {name}: invite a client."""

    def post(self, request: Request) -> Response:
        """201 {client, token}; the token is shown this once."""
        client, token = invite_client(inputs.parse(request, inputs.NewClient).name)
        return Response({"client": str(client.uuid), "token": token}, status=201)


class ClientReenrolment(OfficerView):
    """POST {reason?}: revoke a client's key and let it enrol a new one."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token}; the token is shown this once."""
        client, token = reenrol_client(client_id, inputs.parse(request, inputs.Reenrolment).reason)
        return Response({"client": str(client.uuid), "token": token}, status=201)


class Windows(OfficerView):
    """POST {model, requests, maskConfig?}: open a window."""

    def post(self, request: Request) -> Response:
        """201 with the window."""
        body = inputs.parse(request, inputs.NewWindow)
        return Response(render.window(open_window(body.model, body.mask_config, body.requests)), status=201)


class WindowView(OfficerView):
    """GET: one window."""

    def get(self, _request: Request, window_id: uuid.UUID) -> Response:
        """State, orders, jobs."""
        return Response(render.window(get_or_refuse(Window.objects.all(), "window", uuid=window_id)))


class WindowClose(OfficerView):
    """POST: close the window and start its mask job."""

    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        return Response(render.window(close_window(window_id, actor=self.actor)))


class WindowCertify(OfficerView):
    """POST: issue the window's certificates."""

    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window with its certificates."""
        certify(window_id)
        return Response(render.window(Window.objects.get(uuid=window_id)))


class WindowBundle(OfficerView):
    """GET: the audit bundle."""

    def get(self, _request: Request, window_id: uuid.UUID) -> Response:
        """One JSON document, see workflow.bundle."""
        disposition = f'attachment; filename="audit-{window_id}.json"'
        return Response(audit_bundle(window_id), headers={"Content-Disposition": disposition})
