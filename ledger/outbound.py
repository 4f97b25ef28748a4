"""Posting to addresses that others choose, without being led into our own network (server-side request forgery).

1. Only https with a host name or public address on port 443 or from 1024; no user names in the address.
2. The name is resolved once. If any of its addresses is not a public one, nothing is sent: private, loopback,
   link-local (cloud metadata lies there), shared, multicast, reserved ones, and IPv4 addresses wrapped in IPv6.
3. The connection goes to the very address that was checked, so a name that resolves otherwise a moment later
   (DNS rebinding) leads nowhere; certificate and Host header are those of the name.
4. Redirects are not followed, and no more than a little of the answer is read.

LEDGER_WEBHOOKS_ALLOW_PRIVATE lifts 1 and 2 for development and tests.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx2

Resolver = Callable[[str, int], Sequence[str]]
TIMEOUT: Final = 5.0  # seconds to connect, and for each read
_READ: Final = 4096
_LEAST_PORT: Final = 1024
_WRAPPING: Final = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))


class OutboundError(ValueError):
    """Nothing was sent, or nobody answered; the message says why."""


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host. Raises OutboundError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OutboundError(f"the host name {host} cannot be resolved: {error.strerror or error}") from error
    return [str(entry[4][0]) for entry in found]


def check_url(url: str, *, allow_private: bool) -> tuple[str, str, int]:
    """(scheme, host, port) of an address that may be posted to, before it is resolved. Raises OutboundError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OutboundError(f"{url!r:.200} is no address: {error}") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not host or parts.username is not None or parts.fragment:
        raise OutboundError(
            f"got the address {url!r:.200}, expected https://HOST/PATH without user name or fragment"
        )
    port = port or (443 if parts.scheme == "https" else 80)
    if not allow_private and port != 443 and port < _LEAST_PORT:
        raise OutboundError(f"port {port} belongs to another service; expected 443, or 1024 and above")
    return parts.scheme, host, port


def public_address(text: str) -> bool:
    """Whether an IP address is one of the public internet's."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in net for net in _WRAPPING):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool = False,
    resolver: Resolver = resolve,
) -> int:
    """Post once and return the status of the answer. Raises OutboundError where there is none."""
    scheme, host, port = check_url(url, allow_private=allow_private)
    addresses = list(resolver(host, port))
    refused = [] if allow_private else [each for each in addresses if not public_address(each)]
    if refused or not addresses:
        raise OutboundError(
            f"{host} resolves to {refused[0] if refused else 'nothing'}, which is not a public address; nothing "
            "was sent"
        )
    parts = urlsplit(url)
    literal = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    target = f"{scheme}://{literal}:{port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    named = dict(headers) | {"Host": shown if port in (80, 443) else f"{shown}:{port}"}
    try:
        with (
            httpx2.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", target, content=body, headers=named, extensions={"sni_hostname": host}) as answer,
        ):
            next(answer.iter_raw(_READ), b"")
            return int(answer.status_code)
    except httpx2.HTTPError as error:
        raise OutboundError(f"{host} did not answer: {type(error).__name__} {error}".rstrip()[:280]) from error
