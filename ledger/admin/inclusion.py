"""Proof that an entry stands in the log: recomputed here, shown step by step, so that anybody can redo it by hand.

The steps are those of RFC 9162, section 2.1.3.2. What the page says is checked by `ledger.tlog.merkle`, not by its
own steps; those only show how the root comes about.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from ledger import log
from ledger.models import Cosignature, LogEntry
from ledger.tlog import merkle
from ledger.tlog.errors import ProofError


def page(request: HttpRequest, index: int) -> HttpResponse:
    """The proof of entry `index` in the latest checkpoint's tree."""
    if not request.user.has_perm("ledger.view_logentry"):
        raise PermissionDenied(_("your role does not include looking at the log"))
    entry = LogEntry.objects.filter(index=index).first()
    if entry is None:
        raise Http404
    shown = admin.site.each_context(request) | {
        "title": _("Log entry #%(index)d: proof of inclusion") % {"index": index}, "entry": entry, **proof(entry),
    }  # fmt: skip
    return TemplateResponse(request, "admin/ledger/inclusion.html", shown)


def proof(entry: LogEntry) -> dict[str, Any]:
    """What the page shows; without a checkpoint over the entry, only that there is none."""
    head = log.latest_checkpoint()
    if head is None or head.size <= entry.index:
        return {"head": None}
    leaf = merkle.leaf_hash(bytes(entry.envelope))
    path = log.inclusion(entry.index, head.size)
    problem = ""
    try:
        merkle.verify_inclusion(leaf, entry.index, head.size, path, bytes(head.root))
    except ProofError as error:
        problem = str(error)
    found = steps(leaf, entry.index, head.size, path)
    return {
        "head": head, "leaf": leaf.hex(), "steps": found, "root": found[-1]["result"] if found else leaf.hex(),
        "problem": problem, "bytes": len(entry.envelope),
        "cosigned": Cosignature.objects.filter(proposal=head.size),
    }  # fmt: skip


def steps(leaf: bytes, index: int, size: int, path: list[bytes]) -> list[dict[str, Any]]:
    """Each sibling of the path, on which side it stands, and the hash that follows."""
    node, last, current, found = index, size - 1, leaf, []
    for sibling in path:
        left = bool(node & 1) or node == last
        current = merkle.node_hash(sibling, current) if left else merkle.node_hash(current, sibling)
        while left and node and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
        found.append({"left": left, "sibling": sibling.hex(), "result": current.hex()})
    return found
