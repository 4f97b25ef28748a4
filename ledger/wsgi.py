"""The WSGI application: `gunicorn ledger.wsgi`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")

application = get_wsgi_application()

from django.urls import get_resolver  # noqa: E402 - Django is ready now

from ledger import production  # noqa: E402
from ledger.api import waiting  # noqa: E402

production.refuse_unsafe()
waiting.end_with_process()
get_resolver().check()  # loads all pages, for which the first request would wait
