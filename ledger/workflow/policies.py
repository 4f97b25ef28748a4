"""Policies: how windows of a model come about, what they ask of clients, and what is done about silence.

A model without a policy of its own has the default one, and that is everything by hand, from every client, at full
coverage, until somebody sets it. What clients are held to is logged with the window's close (`WindowPolicy`); when
windows are opened and closed is the provider's own business and is not.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from ledger.models import GlobalModel, Policy
from ledger.statements.predicates.window_policy import Days, SomeDays, WindowPolicy
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, get_or_refuse

MAX_REQUESTS = 20_000  # of one window


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text, re.ASCII):
        raise ValueError("a time of day is HH:MM, in UTC")
    return text


class Schedule(BaseModel):
    """When approved requests are put into a window that is closed at once: on weekdays, or every so many days."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    weekdays: list[Annotated[int, Field(ge=0, le=6, strict=True)]] = Field(
        default=[], max_length=7, description="0 is Monday"
    )
    every_days: SomeDays | None = None
    at: Annotated[str, AfterValidator(_time_of_day)] = "00:00"
    min_requests: int = Field(default=1, ge=1, le=MAX_REQUESTS, strict=True)
    max_requests: int = Field(default=MAX_REQUESTS, ge=1, le=MAX_REQUESTS, strict=True)
    close_days_before_due: Days | None = Field(
        default=None, description="a request due this soon is not made to wait, for the day or for others"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Schedule:
        if bool(self.weekdays) == (self.every_days is not None):
            raise ValueError("a schedule has either weekdays or everyDays")
        if self.min_requests > self.max_requests:
            raise ValueError("minRequests is above maxRequests")
        return self

    def ran_into(self, after: datetime, anchor: datetime, now: datetime) -> bool:
        """Whether the schedule names a moment in (after, now]; `anchor` is where everyDays are counted from."""
        hour, minute = map(int, self.at.split(":"))
        day = now.astimezone(UTC).date()
        for _day in range(366):
            moment = datetime.combine(day, time(hour, minute, tzinfo=UTC))
            if moment <= after:
                return False
            if moment <= now and self._names(moment, anchor):
                return True
            day -= timedelta(days=1)
        return False

    def _names(self, moment: datetime, anchor: datetime) -> bool:
        if self.every_days is None:
            return moment.weekday() in self.weekdays
        return (moment.date() - anchor.astimezone(UTC).date()).days % self.every_days == 0


class PolicyValues(WindowPolicy):
    """Everything a policy says: a WindowPolicy, and what stays with the provider."""

    model_config = ConfigDict(extra="forbid")

    schedule: Schedule | None = Field(default=None, description="null: windows are opened and closed by hand")
    mask_config: dict[str, Any] = Field(default={}, description="laid over the model's default configuration")
    certify_days_after_due: Days | None = Field(
        default=None,
        description="certificates are issued so long after the due date, or once all have answered; null: by hand",
    )

    def logged(self) -> WindowPolicy:
        """The part that stands in the log."""
        return WindowPolicy.model_validate({name: getattr(self, name) for name in WindowPolicy.model_fields})

    def json(self) -> dict[str, Any]:  # type: ignore[override]
        """As it is stored and shown."""
        return self.model_dump(mode="json", by_alias=True)


def parse(values: Mapping[str, Any]) -> PolicyValues:
    """Read a policy's values. Raises WorkflowError (422) naming the first that is wrong."""
    try:
        return PolicyValues.model_validate(dict(values), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the policy"
        raise WorkflowError(
            "bad-policy",
            _("%(where)s: %(msg)s, got %(input)s")
            % {"where": where, "msg": first["msg"], "input": f"{first['input']!r:.200}"},
            422,
        ) from error


def effective(model: GlobalModel, changes: Mapping[str, Any] | None = None) -> PolicyValues:
    """The policy that counts for a model now, with `changes` laid over it. Raises WorkflowError (422)."""
    row = policy_row(model)
    return parse({**(row.values if row else {}), **(changes or {})})


def policy_row(model: GlobalModel) -> Policy | None:
    """The model's own policy, or the default one; None while neither was set."""
    return Policy.objects.filter(model=model).first() or Policy.objects.filter(model=None).first()


@exclusive
def set_policy(model_id: uuid.UUID | str | None, values: Mapping[str, Any], *, actor: Actor = SYSTEM) -> Policy:
    """Set the policy of a model, or with None the default. Windows that are closed keep theirs.

    Raises WorkflowError: unknown model (404), bad values (422).
    """
    model = None if model_id is None else get_or_refuse(GlobalModel.objects.all(), "model", uuid=model_id)
    checked = parse(values).json()
    row = Policy.objects.filter(model=model).first() or Policy(model=model)
    if row.values.get("schedule") != checked["schedule"]:
        row.anchored_at = timezone.now()  # a new schedule does not make up for days before it
    row.values = checked
    row.save()
    _record(row, actor, checked)
    return row


@exclusive
def drop_policy(model_id: uuid.UUID | str | None, *, actor: Actor = SYSTEM) -> None:
    """From now on the default counts for this model, or with None the built-in one. Raises WorkflowError (404)."""
    row = Policy.objects.filter(**({"model": None} if model_id is None else {"model__uuid": model_id})).first()
    if row is None:
        whose = (
            _("there is no default policy")
            if model_id is None
            else _("model %(model)s has no policy of its own") % {"model": model_id}
        )
        raise WorkflowError("not-found", _("%(whose)s: there is nothing to drop") % {"whose": whose}, 404)
    _record(row, actor, None)
    row.delete()


def _record(row: Policy, actor: Actor, values: dict[str, Any] | None) -> None:
    events.record("policy.changed", actor=actor, model=row.model_id, data={"policy": values})
