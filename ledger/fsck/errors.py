"""What a check that fails raises."""

from __future__ import annotations


class FsckError(Exception):
    """The first thing that is wrong: what it is, what was got, what was expected."""
