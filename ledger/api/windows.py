"""Windows, models and policies as officers handle them. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import BooleanField, ExpressionWrapper, Q
from pydantic import Field, RootModel
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render_windows, request_inputs, window_inputs
from ledger.api.auth import OfficerView
from ledger.api.inputs import parse
from ledger.api.operations import operation
from ledger.api.outputs import windows as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import NO_NUL, Query, page
from ledger.models import DeletionRequest, GlobalModel, Policy, Window
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from ledger.workflow.membership import add_requests, discard_window, remove_requests
from ledger.workflow.policies import drop_policy, set_policy
from ledger.workflow.releases import retire_model
from ledger.workflow.step import get_or_refuse
from ledger.workflow.windows import close_window, open_window


def _window(window_id: uuid.UUID) -> dict[str, Any]:
    return render_windows.window(get_or_refuse(Window.objects.all(), "window", uuid=window_id))


def _model(model_id: uuid.UUID) -> GlobalModel:
    return get_or_refuse(GlobalModel.objects.all(), "model", uuid=model_id)


def _global_model(model_id: uuid.UUID) -> dict[str, Any]:
    return render_windows.global_model(_model(model_id))


class WindowQuery(Query):
    """GET /windows."""

    lookups: ClassVar[dict[str, str]] = {"request": "requests", "dataset": "model__dataset"}

    state: Window.State | None = None
    model: uuid.UUID | None = None
    request: uuid.UUID | None = None
    dataset: str | None = Field(None, pattern=NO_NUL)


class ModelQuery(Query):
    """GET /models."""

    lookups: ClassVar[dict[str, str]] = {"retired": "retired"}

    dataset: str | None = Field(None, pattern=NO_NUL)
    retired: bool | None = None


class PolicyValues(RootModel[dict[str, Any]]):
    """A policy; docs/officers.md lists its members."""


class Windows(OfficerView):
    """GET: windows. POST: open one."""

    @operation("List windows", needs="ledger.view_window", gives={200: Page[outputs.WindowLine]}, query=WindowQuery)
    def get(self, request: Request) -> Response:
        """Newest first."""
        rows = Window.objects.select_related("closed_entry", "mask_entry")
        return page(request, rows, WindowQuery, render_windows.window_line, ("-created_at", "uuid"))

    @operation(
        "Open a window",
        needs="ledger.change_deletionrequest",
        takes=window_inputs.NewWindow,
        gives={201: outputs.Window},
    )
    def post(self, request: Request) -> Response:
        """201 with the window; {model, requests, maskConfig?, policy?}."""
        body = parse(request, window_inputs.NewWindow)
        self.must_see(GlobalModel, [body.model])
        self.must_see(DeletionRequest, body.requests)
        row = open_window(body.model, body.mask_config, body.requests, policy=body.policy, actor=self.actor)
        return Response(render_windows.window(row), status=201)


class WindowView(OfficerView):
    """GET: one window. DELETE: give up an open one."""

    @operation("Read a window", needs="ledger.view_window", gives={200: outputs.Window})
    def get(self, _request: Request, window_id: uuid.UUID) -> Response:
        """State, policy, requests, orders, jobs, timeline."""
        return Response(_window(window_id))

    @operation("Give up an open window", needs="ledger.change_window", gives={204: None})
    def delete(self, _request: Request, window_id: uuid.UUID) -> Response:
        """204; its requests are free again."""
        discard_window(window_id, actor=self.actor)
        return Response(status=204)


class WindowRequests(OfficerView):
    """POST {requests}: put them into an open window. DELETE {requests}: take them out."""

    @operation(
        "Put requests into an open window",
        needs="ledger.change_window",
        takes=window_inputs.Membership,
        gives={200: outputs.Window},
        guards=_window,
    )
    def post(self, request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        named = parse(request, window_inputs.Membership).requests
        self.must_see(DeletionRequest, named)
        add_requests(window_id, named, actor=self.actor)
        return Response(_window(window_id))

    @operation(
        "Take requests out of an open window",
        needs="ledger.change_window",
        takes=window_inputs.Membership,
        gives={200: outputs.Window},
        guards=_window,
    )
    def delete(self, request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        remove_requests(window_id, parse(request, window_inputs.Membership).requests, actor=self.actor)
        return Response(_window(window_id))


class WindowClose(OfficerView):
    """POST: close the window and start its mask job."""

    @operation(
        "Close a window and start its mask job",
        needs="ledger.change_window",
        gives={200: outputs.Window},
        guards=_window,
    )
    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window."""
        return Response(render_windows.window(close_window(window_id, actor=self.actor)))


class WindowCertify(OfficerView):
    """POST: issue the window's certificates."""

    @operation(
        "Issue a window's certificates",
        needs="ledger.change_window",
        gives={200: outputs.Window},
        guards=_window,
    )
    def post(self, _request: Request, window_id: uuid.UUID) -> Response:
        """The window with its certificates."""
        certify(window_id, actor=self.actor)
        return Response(_window(window_id))


class Models(OfficerView):
    """GET: global models."""

    @operation(
        "List global models",
        needs="ledger.view_globalmodel",
        gives={200: Page[outputs.GlobalModel]},
        query=ModelQuery,
    )
    def get(self, request: Request) -> Response:
        """In the order of their release."""
        rows = GlobalModel.objects.select_related("entry", "retired_entry").annotate(
            retired=ExpressionWrapper(Q(retired_entry__isnull=False), BooleanField())
        )
        return page(request, rows, ModelQuery, render_windows.global_model, ("entry",))


class ModelView(OfficerView):
    """GET: one global model."""

    @operation("Read a global model", needs="ledger.view_globalmodel", gives={200: outputs.GlobalModel})
    def get(self, _request: Request, model_id: uuid.UUID) -> Response:
        """Its release, what it supersedes, its policy."""
        return Response(_global_model(model_id))


class ModelRetirement(OfficerView):
    """POST {reason}: the model is out of use for good."""

    @operation(
        "Retire a global model",
        needs="ledger.change_globalmodel",
        takes=request_inputs.Reason,
        gives={200: outputs.GlobalModel},
        guards=_global_model,
    )
    def post(self, request: Request, model_id: uuid.UUID) -> Response:
        """The model."""
        reason = parse(request, request_inputs.Reason).reason
        return Response(render_windows.global_model(retire_model(model_id, reason, actor=self.actor)))


class ModelPolicy(OfficerView):
    """GET, PUT, DELETE: the policy of one model."""

    @operation("Read a model's policy", needs="ledger.view_policy", gives={200: outputs.Policy})
    def get(self, _request: Request, model_id: uuid.UUID) -> Response:
        """The one that counts, and whose it is."""
        return Response(render_windows.policy(None, _model(model_id)))

    @operation(
        "Set a model's policy", needs="ledger.change_policy", takes=PolicyValues, gives={200: outputs.Policy}
    )
    def put(self, request: Request, model_id: uuid.UUID) -> Response:
        """Set all of it; what is left out has its default."""
        set_policy(model_id, _values(request), actor=self.actor)
        return Response(render_windows.policy(None, _model(model_id)))

    @operation("Drop a model's policy", needs="ledger.change_policy", gives={204: None})
    def delete(self, _request: Request, model_id: uuid.UUID) -> Response:
        """From now on the default counts."""
        drop_policy(model_id, actor=self.actor)
        return Response(status=204)


class DefaultPolicy(OfficerView):
    """GET, PUT, DELETE: the policy of all models that have none of their own."""

    @operation("Read the default policy", needs="ledger.view_policy", gives={200: outputs.Policy})
    def get(self, _request: Request) -> Response:
        """The default, or what is built in."""
        return Response(render_windows.policy(Policy.objects.filter(model=None).first(), None))

    @operation(
        "Set the default policy", needs="ledger.change_policy", takes=PolicyValues, gives={200: outputs.Policy}
    )
    def put(self, request: Request) -> Response:
        """Set all of it."""
        return Response(render_windows.policy(set_policy(None, _values(request), actor=self.actor), None))

    @operation("Drop the default policy", needs="ledger.change_policy", gives={204: None}, refuses=(404,))
    def delete(self, _request: Request) -> Response:
        """Back to what is built in."""
        drop_policy(None, actor=self.actor)
        return Response(status=204)


def _values(request: Request) -> dict[str, object]:
    if not isinstance(request.data, dict):
        kind = type(request.data).__name__
        raise WorkflowError("bad-policy", f"got a {kind}, expected a JSON object with a policy's values", 422)
    return dict(request.data)
