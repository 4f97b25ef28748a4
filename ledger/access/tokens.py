"""Tokens for programs: instead of a password, which with a second factor opens nothing over REST.

A token carries one role, and never more than its owner still has; it ends at its date, when it is revoked, and when
its owner's account is switched off. It is shown once; its hash is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from ledger.access import roles
from ledger.models import ApiToken
from ledger.workflow.actors import officer
from ledger.workflow.events import record

PREFIX: Final = "ulo_"  # so that scanners of repositories can tell what they have found
MAX_DAYS: Final = 366
_USED: Final = timedelta(minutes=5)  # how exactly the last use is noted


class TokenError(ValueError):
    """A token that cannot be made; the text says why."""


def roles_of(user: Any) -> list[str]:
    """The roles that the account may give to its tokens."""
    if user.is_superuser:
        return list(roles.ROLES)
    held = set(user.groups.values_list("name", flat=True))
    return [role for role in roles.ROLES if role in held]


@transaction.atomic
def make(user: Any, label: str, role: str, days: int) -> tuple[ApiToken, str]:
    """A new token and its text. Raises TokenError for a role that its owner has not, or too long a life."""
    if role not in roles_of(user):
        raise TokenError(f"this account has no role {role!r}: a token may not do more than its owner")
    if not 1 <= days <= MAX_DAYS:
        raise TokenError(f"a token lives 1 to {MAX_DAYS} days, got {days}")
    text = PREFIX + secrets.token_hex(32)
    row = ApiToken.objects.create(
        user=user, label=label, role=role, digest=_digest(text), expires_at=timezone.now() + timedelta(days=days)
    )
    record("account.token-made", actor=officer(user), data={"account": user.pk, "role": role})
    return row, text


def find(text: str) -> ApiToken | None:
    """The valid token of this text, whose owner's account is open; None otherwise."""
    now = timezone.now()
    row = (
        ApiToken.objects.select_related("user")
        .filter(digest=_digest(text), revoked_at=None, expires_at__gt=now, user__is_active=True)
        .first()
    )
    if row is None or row.role not in roles_of(row.user):
        return None
    if row.last_used_at is None or row.last_used_at < now - _USED:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


def permits(token: ApiToken, permission: str) -> bool:
    """Whether the token's role includes the permission, as "ledger.codename"."""
    app, _, name = permission.partition(".")
    return app == "ledger" and name in roles.codenames(token.role)


@transaction.atomic
def revoke(token: ApiToken, by: Any) -> None:
    """End it now; again: nothing happens."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        record("account.token-revoked", actor=officer(by), data={"account": token.user_id})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
