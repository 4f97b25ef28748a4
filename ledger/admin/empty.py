"""What an empty list says: what would stand there, and how it comes about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

_WORDS: Final[Mapping[str, Any]] = {
    "deletionrequest": _("No request has been filed yet. File one, or import a file of requests."),
    "window": _("No window yet. Approve requests, tick them on their list and choose to open a window for them."),
    "order": _("No order yet. Orders are issued when a window's mask is computed: close a window first."),
    "requestimport": _("Nothing was imported yet. Add a file with one request a line, CSV or JSON."),
    "client": _("No client yet. Invite one: it gets a token, with which its agent enrols a key."),
    "clientkey": _("No key yet. A client brings its key when it enrols: invite one and give it its token."),
    "suspension": _("No client was ever suspended. On the list of orders, clients that do not comply can be."),
    "globalmodel": _("No model yet. “manage.py register_model” releases one."),
    "clientmodel": _("No client has committed to a model yet. Its agent does so once it has enrolled."),
    "circuitrelease": _("No circuit yet. “manage.py register_circuit” releases one."),
    "certificate": _("No certificate yet. They are issued when a window is certified."),
    "export": _("No report yet. Ask for one here, or on the page of a request, window or client."),
    "verdictrecord": _("No verdict yet. The verifier gives one on every proof that comes in."),
    "proofsubmission": _("No proof yet. Clients send them when their challenge is drawn."),
    "challenge": _("No challenge yet. One is drawn for every claim, under a published checkpoint."),
    "claim": _("No claim yet. A client makes one when it has carried out an order."),
    "continuation": _("No continuation yet. They follow when a client goes on from a model that has unlearned."),
    "logentry": _("The log is empty. Its first entries come with a circuit and a model."),
    "checkpoint": _("No checkpoint yet. The worker publishes one once the log has entries: is it running?"),
    "witnessstate": _("No witness was asked yet. LEDGER_WITNESSES names them."),
    "cosignature": _("No witness has cosigned yet. LEDGER_WITNESSES names them, the worker asks them."),
    "checkpointproposal": _("Nothing was proposed yet. Where there are witnesses, they see each checkpoint first."),
    "fsckrun": _("The log was never checked. The worker does it once a day, “manage.py fsck” does it now."),
    "blob": _("No file yet. Models, masks and proofs are kept here when they come in."),
    "subjectaccess": _("Nobody has looked at who asked. Every look is logged with its reason and stands here."),
    "job": _("No job yet. Closed windows, claims, proofs and reports make them."),
    "event": _("Nothing has happened yet."),
    "webhookendpoint": _("No endpoint yet. POST /api/v1/webhooks adds one, and shows its secret once."),
    "webhookdelivery": _("Nothing was sent yet. Deliveries follow events that an endpoint has asked for."),
    "policy": _("No policy yet: the defaults count. Add one to change how windows come about."),
    "bulkrun": _("Nothing yet. Actions on more than 20 rows of a list are carried out by a worker and stand here."),
    "datasetindex": _("No index yet. “manage.py register_dataset” registers the samples of a data set."),
}


def words(table: str) -> Any:
    """What the empty list of `table` says."""
    return _WORDS.get(table, _("Nothing here yet."))
