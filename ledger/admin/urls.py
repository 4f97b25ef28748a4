"""Addresses of the console beside those of Django's admin; whoever is no officer is sent to the login."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from ledger.admin import figures, inclusion, live, views

app_name = "console"
urlpatterns = [
    path("figures/", admin.site.admin_view(figures.page), name="figures"),
    path("live/progress/", admin.site.admin_view(live.progress), name="progress"),
    path("views/<str:page>/", admin.site.admin_view(views.change), name="views"),
    path("log/<int:index>/inclusion/", admin.site.admin_view(inclusion.page), name="inclusion"),
]
