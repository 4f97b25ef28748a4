"""Requests signed by a client's Ed25519 key (RFC 9421 HTTP Message Signatures, RFC 9530 Content-Digest).

A signature covers ``@method``, ``@target-uri`` and, whenever there is a body, ``content-digest``; it
carries ``created``, ``keyid`` (see `ledger.statements.keys`), ``alg="ed25519"`` and the tag of this ledger,
which keeps signatures made for other applications out. The server takes a signature for 300 seconds. Within
that time a request that was overheard can be sent again, word for word: every signed endpoint must bear
that, as GET and a PUT under a digest do.

The target URI holds the host, so a server must answer under its own host names only (ALLOWED_HOSTS);
otherwise a request that was signed for one server could be played to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    MappingKeyResolver,
    algorithms,
)

from ledger.statements import keys
from ledger.statements.errors import SignatureError

MAX_AGE: Final = timedelta(seconds=300)
TAG: Final = "unlearning-ledger"
COVERED: Final = ("@method", "@target-uri")

ResolveKey = Callable[[str], Ed25519PublicKey | None]


@dataclass
class _Message:
    """What the library wants to see of a request."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


class _Resolver(HTTPSignatureKeyResolver):
    """Looks keys up through a function, and remembers how that failed.

    The library reports whatever goes wrong in a look-up as a bad signature; a database that is down is none.
    """

    def __init__(self, resolve_key: ResolveKey) -> None:
        self._resolve_key = resolve_key
        self.failure: Exception | None = None

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            return self._resolve_key(key_id)
        except Exception as error:
            self.failure = error
            raise


def sign_request(
    method: str,
    url: str,
    body: bytes,
    key: Ed25519PrivateKey,
    created: datetime | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers that sign a request: Signature-Input, Signature and, with a body, Content-Digest.

    `url` is the absolute URL as it is sent, percent-encoded; `created` is the present by default. `headers` are
    signed as well, and returned with the others. Raises SignatureError if the method is not upper case or the URL
    not absolute.
    """
    message = _Message(method, url, dict(headers or {}))
    covered = (*COVERED, *(name.lower() for name in message.headers))
    keyid = keys.keyid(key)
    signer = HTTPMessageSigner(
        signature_algorithm=algorithms.ED25519,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={keyid: key}),
    )
    try:
        signer.sign(
            message, key_id=keyid, created=created, tag=TAG, covered_component_ids=covered, body=body or None
        )
    except (HTTPMessageSignaturesException, ValueError) as error:
        raise SignatureError(f"this request cannot be signed: {error}") from error
    return message.headers


def verify_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    resolve_key: ResolveKey,
    covered: tuple[str, ...] = (),
) -> str:
    """Check a request's signature and return the key ID of who signed it.

    `url` is the absolute URL that the server was asked under. `resolve_key` returns the public key of a key
    ID or None. `covered` names further headers, in lower case, that the signature must cover. Raises
    SignatureError if the signature is missing, not valid, older than 300 s or from the future (5 s of skew are
    granted), by an unknown key, or does not cover method, target URI, the body's digest and `covered`. What
    `resolve_key` raises passes through.
    """
    resolver = _Resolver(resolve_key)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=resolver)
    try:
        results = verifier.verify(
            _Message(method, url, dict(headers)),
            max_age=MAX_AGE,
            expect_tag=TAG,
            require_components=(*COVERED, *covered),
            body=body,
        )
    except (HTTPMessageSignaturesException, ValueError) as error:
        if resolver.failure is not None:
            raise resolver.failure from None
        raise SignatureError(f"the request's signature is refused: {_reason(error)}") from error
    if len(results) != 1:
        raise SignatureError(f"a request carries one signature with the tag {TAG!r}, got {len(results)}")
    return str(results[0].parameters["keyid"])


def _reason(error: Exception) -> str:
    """Return why the library refused; it says nothing at all where the signature itself is wrong."""
    return str(error) or "it was not made over this request by this key"


def client_hooks(origin: str, key: Ed25519PrivateKey) -> Any:
    """Return hooks that sign an httpx2 client's requests: ``httpx2.Client(event_hooks=hooks.event_hooks)``.

    `origin` is scheme, host and port of the ledger, as ``https://ledger.example``. A request to anywhere else
    is refused before it is sent, so a redirect cannot carry a signature away.
    """
    from http_message_signatures.httpx2 import SignatureHooks, SignatureHooksMode

    keyid = keys.keyid(key)
    return SignatureHooks(
        SignatureHooksMode.SIGN_REQUEST,
        sign_options={
            "origin": origin,
            "signature_algorithm": algorithms.ED25519,
            "key_id": keyid,
            "key_resolver": MappingKeyResolver(public_keys={}, private_keys={keyid: key}),
            "tag": TAG,
            "covered_component_ids": COVERED,
        },
    )
