"""Orders that still bind a client's model."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from ledger.models import Client, GlobalModel, Order, Window
from ledger.workflow.errors import WorkflowError


def unsettled(client: Client, model: GlobalModel | None = None) -> QuerySet[Order]:
    """Orders to a client, about one model or any, that are not met, excepted, or certified as what they are."""
    orders = Order.objects.filter(client_model__client=client)
    if model is not None:
        orders = orders.filter(client_model__model=model)
    return orders.exclude(state__in=(Order.State.MET, Order.State.EXCEPTED)).exclude(
        window__state=Window.State.CERTIFIED
    )


def refuse_while_ordered(client: Client, model: GlobalModel | None, otherwise: str) -> None:
    """409, ending in the words `otherwise`, while an order binds the client's model."""
    pending = unsettled(client, model).order_by("entry").first()
    if pending is not None:
        raise WorkflowError(
            "order-pending",
            _("order %(uuid)s is %(state)s: %(otherwise)s")
            % {"uuid": pending.uuid, "state": _(pending.state), "otherwise": otherwise},
        )
