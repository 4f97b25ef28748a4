"""Windows, models and policies as officers handle them. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render_windows, window_inputs
from ledger.api.auth import OfficerView
from ledger.api.filters import Known, choice, flag, page, query, text, uuid_of, whole
from ledger.api.inputs import parse
from ledger.models import GlobalModel, Policy, Window
from ledger.workflow.bundle import audit_bundle
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from ledger.workflow.membership import add_requests, discard_window, remove_requests
from ledger.workflow.policies import drop_policy, set_policy
from ledger.workflow.releases import retire_model
from ledger.workflow.step import get_or_refuse
from ledger.workflow.windows import close_window, open_window

_WINDOWS: Known = {
    "state": ("state", choice(Window.State.values)),
    "model": ("model", uuid_of),
    "request": ("requests", uuid_of),
    "dataset": ("model__dataset", text),
}
_MODELS: Known = {"dataset": ("dataset", text), "retired": ("retired_entry__isnull", lambda n, v: not flag(n, v))}


class Windows(OfficerView):
    """GET: windows, newest first, filtered by state, model, request, dataset. POST: open one."""

    def get(self, request: Request) -> Response:
        """At most 100; `next` is the `before` of the next page."""
        rows = query(request, Window.objects.select_related("closed_entry", "mask_entry"), _WINDOWS, "before")
        before = request.query_params.get("before")
        if before is not None:
            last = get_or_refuse(Window.objects.all(), "window", uuid=uuid_of("before", before))
            rows = rows.filter(created_at__lt=last.created_at)
        found, following = page(request, rows.order_by("-created_at"))
        return Response({"windows": [render_windows.window_line(row) for row in found], "next": following})

    def post(self, request: Request) -> Response:
        """201 with the window; {model, requests, maskConfig?, policy?}."""
        body = parse(request, window_inputs.NewWindow)
        row = open_window(body.model, body.mask_config, body.requests, policy=body.policy, actor=self.actor)
        return Response(render_windows.window(row), status=201)


class WindowView(OfficerView):
    """GET: one window. DELETE: give up an open one."""

    def get(self, _request: Request, window_id: uuid.UUID) -> Response:
        """State, policy, requests, orders, jobs, timeline."""
        return _window(window_id)

    def delete(self, _request: Request, window_id: uuid.UUID) -> Response:
        """204; its requests are free again."""
        discard_window(window_id, actor=self.actor)
        return Response(status=204)


class WindowRequests(OfficerView):
    """POST {requests}: put them into an open window. DELETE {requests}: take them out."""

    def post(self, request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        add_requests(window_id, parse(request, window_inputs.Membership).requests, actor=self.actor)
        return _window(window_id)

    def delete(self, request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        remove_requests(window_id, parse(request, window_inputs.Membership).requests, actor=self.actor)
        return _window(window_id)


class WindowClose(OfficerView):
    """POST: close the window and start its mask job."""

    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        return Response(render_windows.window(close_window(window_id, actor=self.actor)))


class WindowCertify(OfficerView):
    """POST: issue the window's certificates."""

    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window with its certificates."""
        certify(window_id, actor=self.actor)
        return _window(window_id)


class WindowBundle(OfficerView):
    """GET: the audit bundle."""

    def get(self, _request: Request, window_id: uuid.UUID) -> Response:
        """One JSON document, see workflow.bundle."""
        disposition = f'attachment; filename="audit-{window_id}.json"'
        return Response(audit_bundle(window_id), headers={"Content-Disposition": disposition})


class Models(OfficerView):
    """GET: global models in the order of their release, filtered by dataset, retired."""

    def get(self, request: Request) -> Response:
        """At most 100; `next` is the `after` of the next page."""
        known = _MODELS | {"after": ("entry__gt", whole)}
        rows = query(request, GlobalModel.objects.select_related("entry", "retired_entry"), known)
        found, following = page(request, rows.order_by("entry"), lambda row: row.entry_id)
        return Response({"models": [render_windows.global_model(row) for row in found], "next": following})


class ModelView(OfficerView):
    """GET: one global model."""

    def get(self, _request: Request, model_id: uuid.UUID) -> Response:
        """Its release, what it supersedes, its policy."""
        return Response(render_windows.global_model(_model(model_id)))


class ModelRetirement(OfficerView):
    """POST {reason}: the model is out of use for good."""

    def post(self, request: Request, model_id: uuid.UUID) -> Response:
        """The model."""
        reason = parse(request, window_inputs.Reason).reason
        return Response(render_windows.global_model(retire_model(model_id, reason, actor=self.actor)))


class ModelPolicy(OfficerView):
    """GET, PUT, DELETE: the policy of one model."""

    def get(self, _request: Request, model_id: uuid.UUID) -> Response:
        """The one that counts, and whose it is."""
        return Response(render_windows.policy(None, _model(model_id)))

    def put(self, request: Request, model_id: uuid.UUID) -> Response:
        """Set all of it; what is left out has its default."""
        set_policy(model_id, _values(request), actor=self.actor)
        return Response(render_windows.policy(None, _model(model_id)))

    def delete(self, _request: Request, model_id: uuid.UUID) -> Response:
        """From now on the default counts."""
        drop_policy(model_id, actor=self.actor)
        return Response(status=204)


class DefaultPolicy(OfficerView):
    """GET, PUT, DELETE: the policy of all models that have none of their own."""

    def get(self, _request: Request) -> Response:
        """The default, or what is built in."""
        return Response(render_windows.policy(Policy.objects.filter(model=None).first(), None))

    def put(self, request: Request) -> Response:
        """Set all of it."""
        return Response(render_windows.policy(set_policy(None, _values(request), actor=self.actor), None))

    def delete(self, _request: Request) -> Response:
        """Back to what is built in."""
        drop_policy(None, actor=self.actor)
        return Response(status=204)


def _window(window_id: uuid.UUID) -> Response:
    return Response(render_windows.window(get_or_refuse(Window.objects.all(), "window", uuid=window_id)))


def _model(model_id: uuid.UUID) -> GlobalModel:
    return get_or_refuse(GlobalModel.objects.all(), "model", uuid=model_id)


def _values(request: Request) -> dict[str, object]:
    if not isinstance(request.data, dict):
        raise WorkflowError("bad-policy", "a policy is a JSON object", 422)
    return dict(request.data)
