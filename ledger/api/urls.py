"""Addresses under /api/v1."""

from __future__ import annotations

from django.urls import path, re_path

from ledger.api import clients, officers, public, requests, witnesses

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
    path("requests", requests.Requests.as_view()),
    path("requests/preview", requests.Preview.as_view()),
    path("requests/imports", requests.Imports.as_view()),
    path("requests/imports/<uuid:import_id>", requests.ImportView.as_view()),
    path("requests/reasons", requests.Reasons.as_view()),
    path("requests/<uuid:request_id>", requests.RequestView.as_view()),
    path("requests/<uuid:request_id>/acknowledge", requests.RequestAcknowledgement.as_view()),
    path("requests/<uuid:request_id>/identity", requests.RequestIdentity.as_view()),
    path("requests/<uuid:request_id>/decision", requests.RequestDecision.as_view()),
    path("requests/<uuid:request_id>/extend", requests.RequestExtension.as_view()),
    path("requests/<uuid:request_id>/hold", requests.RequestHold.as_view()),
    path("requests/<uuid:request_id>/lift", requests.RequestLift.as_view()),
    path("requests/<uuid:request_id>/revoke", requests.RequestRevocation.as_view()),
    path("requests/<uuid:request_id>/erase", requests.RequestErasure.as_view()),
    path("regulations", requests.Regulations.as_view()),
    path("regulations/<str:regulation>", requests.RegulationView.as_view()),
    path("datasets", requests.Datasets.as_view()),
    path("windows", officers.Windows.as_view()),
    path("windows/<uuid:window_id>", officers.WindowView.as_view()),
    path("windows/<uuid:window_id>/close", officers.WindowClose.as_view()),
    path("windows/<uuid:window_id>/certify", officers.WindowCertify.as_view()),
    path("windows/<uuid:window_id>/bundle", officers.WindowBundle.as_view()),
    re_path(r"^.*$", public.Nothing.as_view()),
]
