"""Who is asking: clients by RFC 9421 signatures, officers by token, password or session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db.models import Model
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, BasicAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from ledger.access import factors, scope, session, tokens
from ledger.api import operations
from ledger.api.view import ApiView
from ledger.models import ApiToken, Client, ClientKey
from ledger.statements import httpsig, keys
from ledger.statements.errors import SignatureError
from ledger.workflow.actors import Actor, client_actor, officer
from ledger.workflow.errors import WorkflowError


@dataclass(frozen=True)
class ClientUser:
    """`request.user` of a signed request."""

    client: Client
    key: ClientKey
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False

    @property
    def pk(self) -> str:
        """What throttles count by."""
        return str(self.client.pk)


class ClientSignature(BaseAuthentication):
    """Signature-Input and Signature headers by an enrolled client's key; see ledger.statements.httpsig."""

    def authenticate(self, request: Request) -> tuple[ClientUser, Client] | None:
        """The client, None without a signature; AuthenticationFailed for a bad one."""
        if "Signature-Input" not in request.headers:
            return None
        http: HttpRequest = request._request  # noqa: SLF001 - the body's bytes, not parsed
        found: dict[str, ClientKey] = {}

        def public_key(keyid: str) -> Ed25519PublicKey | None:
            key = ClientKey.objects.filter(revoked_entry=None, keyid=keyid).select_related("client").first()
            if key is None:
                return None
            found[keyid] = key
            return keys.public_from_hex(key.public_key)

        try:
            keyid = httpsig.verify_request(
                str(http.method), http.build_absolute_uri(), http.headers, http.body, public_key, _covered(http)
            )
        except SignatureError as error:
            raise AuthenticationFailed(str(error)) from error
        key = found[keyid]
        return ClientUser(key.client, key), key.client

    def authenticate_header(self, _request: Request) -> str:
        """Makes DRF answer 401, with this challenge."""
        return 'Signature realm="unlearning-ledger"'


class Token(BaseAuthentication):
    """Authorization: Bearer, a token that an officer has made for a program; see ledger.access.tokens."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        """The token's owner, None without a token; AuthenticationFailed for one that is not valid."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        found = tokens.find(text.strip())
        if found is None:
            raise AuthenticationFailed("this token is unknown, revoked or expired, or its owner lost the role")
        return found.user, found

    def authenticate_header(self, _request: Request) -> str:
        """Makes DRF answer 401, with this challenge."""
        return 'Bearer realm="unlearning-ledger"'


class Password(BasicAuthentication):
    """Name and password, for accounts that have no second factor and need none."""

    def authenticate_credentials(self, userid: str, password: str, request: Any = None) -> Any:
        """The account. AuthenticationFailed if a password alone is not enough."""
        user, nothing = super().authenticate_credentials(userid, password, request)
        if factors.needed(user):
            raise AuthenticationFailed(
                "a password alone is not enough for this account: make an API token in the console, and send it "
                "as Authorization: Bearer"
            )
        return user, nothing


class Session(SessionAuthentication):
    """The console's session, once it has shown the second factor that its account needs."""

    def authenticate(self, request: Request) -> Any:
        """The account; AuthenticationFailed while the second factor is missing."""
        found = super().authenticate(request)
        http: HttpRequest = request._request  # noqa: SLF001 - the session is Django's
        if found is not None and not session.is_complete(http):
            raise AuthenticationFailed("this session has not shown its second factor: log in on the console")
        return found


class IsClient(BasePermission):
    """Only enrolled clients."""

    def has_permission(self, request: Request, _view: APIView) -> bool:
        """Whether the signature was a client's."""
        return isinstance(request.user, ClientUser)


class IsOfficer(BasePermission):
    """Only staff with the permission that the operation declares, as on the admin's pages."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether this account may do it. Methods that do not exist are let through to their 405."""
        if not (request.user and request.user.is_active and request.user.is_staff):
            return False
        if not hasattr(view, str(request.method).lower()) or request.method == "OPTIONS":
            return True
        said = operations.of(view, request.method)
        if said is None or said.needs is None or not request.user.has_perm(said.needs):
            return False
        return not isinstance(request.auth, ApiToken) or tokens.permits(request.auth, said.needs)


class IsParty(BasePermission):
    """Clients, and officers as `IsOfficer` says."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether it is one of them."""
        return IsClient().has_permission(request, view) or IsOfficer().has_permission(request, view)


class StaffView(ApiView):
    """Base of what officers may see: nothing that belongs to models outside an account's limits."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """404 for what the account must not know of, as if it did not exist."""
        super().initial(request, *args, **kwargs)
        if not isinstance(request.user, ClientUser):
            hidden = scope.hides(request.user, kwargs)
            if hidden:
                raise _not_found(kwargs[hidden])

    def must_see(self, kind: type[Model], names: Iterable[object]) -> None:
        """404 if the body names a row that the account must not know of."""
        names = list(names)
        if not scope.sees_all(self.request.user, kind, names):
            raise _not_found(", ".join(map(str, names)))

    def must_see_data(self, forget: Mapping[str, Any]) -> None:
        """404 if a reference names a data set of other models."""
        name = str(forget.get("dataset"))
        if not scope.sees_data(self.request.user, name):
            raise _not_found(f"data set {name!r}")


class ClientView(ApiView):
    """Base of what enrolled clients may do."""

    authentication_classes = [ClientSignature]
    permission_classes = [IsClient]

    @property
    def caller(self) -> str | None:
        """What limits and idempotency count by."""
        user = self.request.user
        return f"client:{user.pk}" if isinstance(user, ClientUser) else None

    @property
    def client(self) -> Client:
        """Who has signed the request."""
        assert isinstance(self.request.user, ClientUser)
        return self.request.user.client

    @property
    def actor(self) -> Actor:
        """The same, as use cases record it."""
        return client_actor(self.client)


class OfficerView(StaffView):
    """Base of what the provider's officers may do."""

    authentication_classes = [Password, Token, Session]
    permission_classes = [IsOfficer]

    @property
    def actor(self) -> Actor:
        """Who asks, as use cases record it."""
        return officer(self.request.user)


class PartyView(StaffView):
    """Base of what clients see of their own, and officers of all."""

    authentication_classes = [ClientSignature, Password, Token, Session]
    permission_classes = [IsParty]

    @property
    def client(self) -> Client | None:
        """The client that asks; None if an officer does."""
        return self.request.user.client if isinstance(self.request.user, ClientUser) else None

    @property
    def caller(self) -> str | None:
        """What limits and idempotency count by."""
        return super().caller if self.client is None else f"client:{self.client.pk}"

    @property
    def actor(self) -> Actor:
        """Who asks, as use cases record it."""
        client = self.client
        return officer(self.request.user) if client is None else client_actor(client)


def _not_found(name: object) -> WorkflowError:
    return WorkflowError("not-found", f"there is no {name} among the models of this account", 404)


def _covered(http: HttpRequest) -> tuple[str, ...]:
    """Headers that change what a request does, and so must be signed where they are sent."""
    return tuple(name for name in ("idempotency-key", "if-match") if name in http.headers)
