"""What can be wrong with a bundle as a file. What it says is judged elsewhere."""

from __future__ import annotations


class BundleFormatError(ValueError):
    """Not a bundle of the form that `ledger.bundle` describes. The text is one sentence that says where."""
