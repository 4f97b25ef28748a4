"""How the officers' console looks: names, colours and the sidebar, as django-unfold's settings want them.

The sidebar follows tasks, not tables. Everybody sees the pages that they may open, and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

NAME = "Unlearning ledger"

#: Group, then pages: title, icon of Material Symbols, name of the model, its app if it is not ours.
_PAGES: list[tuple[Any, list[tuple[Any, ...]]]] = [
    (
        _("Work"),
        [
            (_("Requests"), "person_remove", "deletionrequest"),
            (_("Windows"), "inbox", "window"),
            (_("Orders"), "send", "order"),
            (_("Imports"), "upload_file", "requestimport"),
            (_("Bulk actions"), "playlist_add_check", "bulkrun"),
        ],
    ),
    (
        _("Parties"),
        [
            (_("Clients"), "groups", "client"),
            (_("Client keys"), "key", "clientkey"),
            (_("Suspensions"), "block", "suspension"),
            (_("Global models"), "deployed_code", "globalmodel"),
            (_("Commitments"), "lock", "clientmodel"),
            (_("Circuit releases"), "memory", "circuitrelease"),
        ],
    ),
    (
        _("Evidence"),
        [
            (_("Certificates"), "workspace_premium", "certificate"),
            (_("Reports"), "summarize", "export"),
            (_("Verdicts"), "gavel", "verdictrecord"),
            (_("Proofs"), "verified", "proofsubmission"),
            (_("Challenges"), "casino", "challenge"),
            (_("Claims"), "contract", "claim"),
            (_("Continuations"), "link", "continuation"),
            (_("Log entries"), "receipt_long", "logentry"),
            (_("Checkpoints"), "flag", "checkpoint"),
            (_("Witnesses"), "visibility", "witnessstate"),
            (_("Cosignatures"), "draw", "cosignature"),
            (_("Proposed checkpoints"), "outlined_flag", "checkpointproposal"),
            (_("Log checks"), "fact_check", "fsckrun"),
            (_("Stored files"), "folder", "blob"),
        ],
    ),
    (
        _("Operation"),
        [
            (_("Looks at subjects"), "person_search", "subjectaccess"),
            (_("Jobs"), "manufacturing", "job"),
            (_("Events"), "history", "event"),
            (_("Webhooks"), "webhook", "webhookendpoint"),
            (_("Deliveries"), "outgoing_mail", "webhookdelivery"),
        ],
    ),
    (
        _("Settings"),
        [
            (_("Regulation terms"), "balance", "regulationterms"),
            (_("Policies"), "policy", "policy"),
            (_("Dataset indexes"), "database", "datasetindex"),
            (_("Accounts"), "badge", "user", "auth"),
        ],
    ),
]


def _may_view(app: str, model: str) -> Callable[[HttpRequest], bool]:
    def permission(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{app}.view_{model}"))

    return permission


def page(title: Any, icon: str, model: str, app: str = "ledger") -> dict[str, Any]:
    """A link of the sidebar to a model's list."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": _may_view(app, model),
    }


def _sidebar() -> list[dict[str, Any]]:
    home = {"title": _("Home"), "icon": "home", "link": reverse_lazy("admin:index")}
    figures = {"title": _("Figures"), "icon": "bar_chart", "link": reverse_lazy("console:figures")}
    groups = [
        {"title": title, "separator": True, "items": [page(*one) for one in pages]} for title, pages in _PAGES
    ]
    return [{"items": [home, figures]}, *groups]


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": NAME,
    "SITE_HEADER": NAME,
    "SITE_SUBHEADER": _("Officers' console"),
    "SITE_SYMBOL": "encrypted",
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "ledger.admin.home.context",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("ledger/icon.svg")}],
    "SHOW_LANGUAGES": True,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda _request: static("ledger/console.css")],
    "SCRIPTS": [lambda _request: static("ledger/console.js"), lambda _request: static("ledger/keyboard.js")],
    "ACCOUNT": {
        "navigation": [
            {"title": _("Second factor"), "link": reverse_lazy("second-factor-setup")},
            {"title": _("API tokens"), "link": reverse_lazy("api-tokens")},
            {"title": _("Change password"), "link": reverse_lazy("admin:password_change")},
        ]
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": _sidebar()},
    "COLORS": {
        "primary": {  # a blue whose 600 and 700 stand out from white by 5:1 and more
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .215 262.881)",
            "700": "oklch(48.8% .2 264.376)",
            "800": "oklch(42.4% .18 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}
