"""When a window's orders are over, and when they are not any more."""

from __future__ import annotations

from ledger.models import Order, Window

OVER = (Order.State.MET, Order.State.REJECTED, Order.State.EXCEPTED)


def settle_window(window: Window) -> None:
    """A masked window all of whose orders are met, rejected or excepted is settled."""
    if not window.orders.exclude(state__in=OVER).exists():
        Window.objects.filter(pk=window.pk, state=Window.State.MASKED).update(state=Window.State.SETTLED)


def unsettle_window(window: Window) -> None:
    """Another claim has come in."""
    Window.objects.filter(pk=window.pk, state=Window.State.SETTLED).update(state=Window.State.MASKED)
