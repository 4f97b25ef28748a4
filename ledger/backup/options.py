"""What `manage.py backup` and `restore` are told alike."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path


def add_place(parser: ArgumentParser) -> None:
    """A folder for database and files, or --keys with a file: one of them."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", nargs="?", type=Path, metavar="DIR")
    what.add_argument("--keys", type=Path, metavar="FILE", help="the keys, and nothing else")


def passphrase() -> str:
    """What LEDGER_BACKUP_PASSPHRASE says; empty if nothing."""
    return os.environ.get("LEDGER_BACKUP_PASSPHRASE", "")
