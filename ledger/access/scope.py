"""Accounts that are limited to certain models: what belongs to other models does not exist for them.

A deletion request names data, not models: it belongs to the models of its data set. A client belongs to the models
that it has committed to. The log is public, and circuits, regulations and witnesses belong to no model: all of the
staff see them. What belongs to the house as a whole (webhooks, imports, inviting clients, policies for all) is
for accounts without limits.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, User
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from ledger import models
from ledger.access import attempts
from ledger.models.access import ModelLimit, SecondFactor

Row = TypeVar("Row", bound=Model)

#: How tables lead to the model that their rows belong to.
_PATHS: Final[Mapping[type[Model], str]] = {
    models.GlobalModel: "pk",
    models.Window: "model",
    models.Order: "window__model",
    models.OrderNotice: "order__window__model",
    models.Objection: "order__window__model",
    models.ClientModel: "model",
    models.Claim: "order__window__model",
    models.Challenge: "claim__order__window__model",
    models.ProofSubmission: "claim__order__window__model",
    models.VerdictRecord: "proof__claim__order__window__model",
    models.Certificate: "window__model",
    models.Continuation: "client_model__model",
    models.Policy: "model",
}
#: How tables lead to the name of a data set.
_DATA_SETS: Final[Mapping[type[Model], str]] = {
    models.DeletionRequest: "dataset",
    models.IdentityCheck: "request__dataset",
    models.LegalHold: "request__dataset",
    models.Approval: "request__dataset",
    models.SubjectAccess: "request__dataset",
    models.DatasetIndex: "name",
}
#: How tables lead to a client.
_CLIENTS: Final[Mapping[type[Model], str]] = {
    models.Client: "pk",
    models.ClientKey: "client",
    models.Suspension: "client",
}
#: Everybody on the staff sees these: the log, and what belongs to no model.
SHARED: Final = frozenset(
    {
        models.LogEntry, models.LogNode, models.Checkpoint, models.CheckpointProposal, models.Cosignature,
        models.WitnessState, models.FsckRun, models.CircuitRelease, models.RegulationTerms,
    }
)  # fmt: skip
#: What a limited account cannot do, whatever its roles: it concerns all models, or brings in rows of any.
HOUSE: Final = frozenset(
    {
        "ledger.add_client", "ledger.add_export", "ledger.view_export",
        "ledger.change_webhookendpoint", "ledger.view_webhookendpoint",
        "ledger.view_webhookdelivery", "ledger.view_requestimport", "ledger.add_requestimport", "ledger.view_blob",
        "ledger.change_regulationterms", "ledger.change_witnessstate", "ledger.add_policy", "ledger.change_policy",
        "auth.view_user", "auth.add_user", "auth.change_user",
    }
)  # fmt: skip
#: The parts of REST addresses that name rows.
_NAMED: Final[Mapping[str, type[Model]]] = {
    "request_id": models.DeletionRequest,
    "window_id": models.Window,
    "order_id": models.Order,
    "client_id": models.Client,
    "model_id": models.GlobalModel,
    "job_id": models.Job,
}


class Accounts(ModelBackend):
    """Django's accounts, behind counted tries; limited ones lack what concerns the whole house."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **more: Any
    ) -> Any:
        """The account whose password this is. PermissionDenied for any password after too many wrong ones."""
        name = username or more.get(User.USERNAME_FIELD) or ""
        username = name = name.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text cannot hold a NUL
        if request is not None and attempts.wait(request, name) is not None:
            raise PermissionDenied
        user = super().authenticate(request, username, password, **more)
        if user is None and request is not None:
            attempts.note_wrong(request, name)
        return user

    def get_user(self, user_id: int) -> Any:
        """A session's account, with what every page asks about it: its limits, and whether it has a factor."""
        limited = ArraySubquery(ModelLimit.objects.filter(user=OuterRef("pk")).values("model"))
        factor = Exists(SecondFactor.objects.filter(user=OuterRef("pk")))
        user = User.objects.annotate(limited_to=limited, enrolled=factor).filter(pk=user_id).first()
        if user is None or not self.user_can_authenticate(user):
            return None
        user._model_limits = frozenset(user.limited_to)  # type: ignore[attr-defined]  # noqa: SLF001 - see `limits`
        return user

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Those of the account and of its groups, asked for together."""
        if obj is not None or not user_obj.is_active or user_obj.is_anonymous or user_obj.is_superuser:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):
            given = Permission.objects.filter(Q(user=user_obj.pk) | Q(group__user=user_obj.pk))
            names = given.order_by().values_list("content_type__app_label", "codename").distinct()
            user_obj._perm_cache = {f"{app}.{name}" for app, name in names}  # noqa: SLF001 - where Django keeps them
        known: set[str] = user_obj._perm_cache  # noqa: SLF001
        return known

    def has_perm(self, user_obj: Any, perm: str, obj: Model | None = None) -> bool:
        """Whether a role gives it and no limit takes it away."""
        return super().has_perm(user_obj, perm, obj) and not (perm in HOUSE and limits(user_obj))


def limits(user: Any) -> frozenset[uuid.UUID]:
    """The models that the account is limited to; empty: no limit. Superusers have none. One query per account."""
    if user.is_superuser or not user.pk:
        return frozenset()
    known: frozenset[uuid.UUID] | None = getattr(user, "_model_limits", None)
    if known is None:
        known = frozenset(ModelLimit.objects.filter(user=user).values_list("model", flat=True))
        user._model_limits = known  # noqa: SLF001 - for as long as this request
    return known


def visible(user: Any, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those of `rows` that the account may know of."""
    ours = limits(user) if getattr(user, "is_staff", False) else frozenset()
    if not ours or rows.model in SHARED:
        return rows
    return rows.filter(_belonging(rows.model, ours))


def hides(user: Any, named: Mapping[str, Any]) -> str | None:
    """The first part of a REST address that names a row outside the account's models, None if there is none."""
    for name, kind in _NAMED.items():
        if name in named and limits(user) and not _sees(user, kind, [named[name]]):
            return name
    return None


def sees_all(user: Any, kind: type[Model], names: Iterable[Any]) -> bool:
    """Whether the account may know of all of these rows."""
    return not limits(user) or _sees(user, kind, names)


def sees_data(user: Any, dataset: str) -> bool:
    """Whether requests about this data set are the account's business."""
    ours = limits(user)
    return not ours or models.GlobalModel.objects.filter(pk__in=ours, dataset=dataset).exists()


def _sees(user: Any, kind: type[Model], names: Iterable[Any]) -> bool:
    wanted = set(map(str, names))
    return visible(user, kind._default_manager.filter(pk__in=wanted)).count() == len(wanted)  # noqa: SLF001


def _belonging(kind: type[Model], ours: frozenset[uuid.UUID]) -> Q:
    """What rows of a table must fulfil. Tables that nobody has decided about show nothing."""
    if kind in _PATHS:
        return Q(**{f"{_PATHS[kind]}__in": ours})
    if kind in _DATA_SETS:
        return Q(**{f"{_DATA_SETS[kind]}__in": models.GlobalModel.objects.filter(pk__in=ours).values("dataset")})
    if kind in _CLIENTS:
        return Q(**{f"{_CLIENTS[kind]}__in": models.ClientModel.objects.filter(model__in=ours).values("client")})
    within = {one: one._default_manager.filter(_belonging(one, ours)).values("pk") for one in _TARGETS}  # noqa: SLF001
    if kind is models.Job:
        return _any(("target", rows) for rows in within.values())
    if kind is models.Event:
        named = {"request": models.DeletionRequest, "window": models.Window, "order": models.Order}
        return Q(model__in=ours) | _any((column, within[table]) for column, table in named.items())
    return Q(pk__in=[])


_TARGETS: Final[tuple[type[Model], ...]] = (
    models.Window, models.Order, models.DeletionRequest, models.Claim, models.ProofSubmission, models.ClientModel,
    models.Continuation,
)  # fmt: skip


def _any(columns: Iterable[tuple[str, Any]]) -> Q:
    return Q(*(Q(**{f"{column}__in": rows}) for column, rows in columns), _connector=Q.OR)
