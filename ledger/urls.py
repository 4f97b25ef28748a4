"""All URLs: the admin for officers, the REST interface for programs."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from ledger import wellknown
from ledger.admin import access_pages
from ledger.api import tiles
from ledger.monitoring import probes

admin.autodiscover()  # the pages, which nobody but a web server needs: see ledger.site

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("ledger.admin.urls")),
    path("admin/second-factor/", access_pages.second_factor, name="second-factor"),
    path("admin/second-factor/setup/", access_pages.setup, name="second-factor-setup"),
    path("admin/second-factor/passkey/<str:step>", access_pages.passkey, name="second-factor-passkey"),
    path("admin/language/", set_language, name="set_language"),
    path("admin/tokens/", access_pages.api_tokens, name="api-tokens"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("ledger.api.urls")),
    path(".well-known/security.txt", wellknown.security_txt),
    path("health", probes.health),
    path("ready", probes.ready),
    path("metrics", probes.figures),
    path("checkpoint", tiles.RootCheckpoint.as_view()),
    path("tile/<path:path>", tiles.TileView.as_view()),
]

handler400 = "ledger.mishaps.bad_request"
handler403 = "ledger.mishaps.forbidden"
handler404 = "ledger.mishaps.not_found"
handler500 = "ledger.mishaps.server_error"
