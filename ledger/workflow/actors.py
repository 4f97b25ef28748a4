"""Who makes a use case happen: an officer, a client's key, or the ledger itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from ledger.models import Client


@dataclass(frozen=True)
class Actor:
    """Recorded with events, in the database only: no leaf of the log names an officer.

    `id` is a user's primary key or a client's UUID; `name` is what pages show.
    """

    kind: Literal["officer", "client", "system"]
    id: str
    name: str

    def __str__(self) -> str:
        return self.name


SYSTEM: Final = Actor("system", "system", "system")  # background work and command lines


def officer(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The actor that a logged-in user is."""
    return Actor("officer", str(user.pk), user.get_username())


def client_actor(row: Client) -> Actor:
    """The actor that an enrolled client is."""
    return Actor("client", str(row.pk), row.name)
