"""Addresses under /api/v1."""

from __future__ import annotations

from django.urls import path, re_path

from ledger.api import clients, officers, public, witnesses

urlpatterns = [
    path("statements", public.Statements.as_view()),
    path("releases", public.Releases.as_view()),
    path("log/checkpoint", public.LatestCheckpoint.as_view()),
    path("log/entries/<int:index>", public.Entry.as_view()),
    path("log/entries/<int:index>/proof", witnesses.EntryProof.as_view()),
    path("log/witnesses", witnesses.Witnesses.as_view()),
    path("log/consistency", public.Consistency.as_view()),
    path("log/rotations", public.Rotations.as_view()),
    path("blobs/<str:sha256>", clients.BlobView.as_view()),
    path("orders", clients.Orders.as_view()),
    path("orders/<uuid:order_id>", clients.OrderView.as_view()),
    path("clients", officers.Clients.as_view()),
    path("clients/<uuid:client_id>/reenrol", officers.ClientReenrolment.as_view()),
    path("requests", officers.Requests.as_view()),
    path("requests/<uuid:request_id>", officers.RequestView.as_view()),
    path("requests/<uuid:request_id>/decision", officers.RequestDecision.as_view()),
    path("requests/<uuid:request_id>/erase", officers.RequestErasure.as_view()),
    path("windows", officers.Windows.as_view()),
    path("windows/<uuid:window_id>", officers.WindowView.as_view()),
    path("windows/<uuid:window_id>/close", officers.WindowClose.as_view()),
    path("windows/<uuid:window_id>/certify", officers.WindowCertify.as_view()),
    path("windows/<uuid:window_id>/bundle", officers.WindowBundle.as_view()),
    re_path(r"^.*$", public.Nothing.as_view()),
]
