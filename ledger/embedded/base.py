"""Django's PostgreSQL backend, connected to the embedded server: ENGINE = "ledger.embedded".

The server is looked up for each new connection, so a postmaster that died is started again by whoever comes
next.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

from ledger import embedded


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL on the Unix socket of the embedded server."""

    def get_connection_params(self) -> dict[str, Any]:
        """Django's parameters with the address of the embedded server filled in."""
        found = embedded.address(settings.LEDGER_DATA_DIR)
        params: dict[str, Any] = super().get_connection_params()
        return params | {"host": found.host, "port": found.port, "user": embedded.USER}
