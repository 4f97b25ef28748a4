"""The JSON that the REST interface answers, one class per kind of document."""

from ledger.api.outputs.base import Problem

__all__ = ["Problem"]
