"""Many Ed25519 signatures at once, in this process or in several.

libsodium (through PyNaCl) takes half the time of OpenSSL, which the ledger itself asks. What libsodium refuses is
tried with OpenSSL. What it takes, OpenSSL might refuse only where the equation of RFC 8032, section 5.1.7, holds up
to the cofactor, as that section allows; only who has the secret key can make such a signature.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from prover_worker.errors import AuditUnavailable

#: Log index, signed bytes, their signatures, and per needed signer the raw keys of which one must have signed.
Item = tuple[int, bytes, tuple[bytes, ...], tuple[tuple[bytes, ...], ...]]

_BATCH: Final = 256
#: Below this many entries starting processes takes longer than checking.
_WORTH_PROCESSES: Final = 4_000


def first_bad(items: Sequence[Item]) -> int | None:
    """The log index of the first item that is not signed as it must be."""
    for index, signed, signatures, signers in items:
        if not all(any(_holds(signed, sig, key) for key in keys for sig in signatures) for keys in signers):
            return index
    return None


class Checker:
    """Takes items in log order, checks them in the background, and knows the first bad one."""

    def __init__(self, pool: ProcessPoolExecutor | None, jobs: int) -> None:
        self._pool, self._jobs = pool, jobs
        self._batch: list[Item] = []
        self._pending: list[Future[int | None]] = []
        self.bad: int | None = None

    def add(self, item: Item) -> None:
        """Take one. `bad` may be set later."""
        self._batch.append(item)
        if len(self._batch) == _BATCH:
            self._send()

    def finish(self) -> int | None:
        """Wait for all; returns the first bad index."""
        self._send()
        while self._pending:
            self._take()
        return self.bad

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        if self.bad is not None or not batch:
            return
        if self._pool is None:
            self.bad = first_bad(batch)
            return
        self._pending.append(self._pool.submit(first_bad, batch))
        while len(self._pending) > 8 * self._jobs:  # what waits stays small
            self._take()

    def _take(self) -> None:
        try:
            found = self._pending.pop(0).result()
        except BrokenProcessPool as error:
            raise AuditUnavailable("a worker process died, perhaps for want of memory: try --jobs 1") from error
        self.bad = found if self.bad is None else self.bad


@contextmanager
def checker(entries: int, jobs: int) -> Iterator[Checker]:
    """A Checker with `jobs` processes, where there are enough entries to be worth them."""
    if jobs < 2 or entries < _WORTH_PROCESSES:
        yield Checker(None, 1)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _quiet, (os.getpid(),)) as pool:
        try:
            yield Checker(pool, jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _quiet(parent: int) -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(1)


def _holds(signed: bytes, signature: bytes, key: bytes) -> bool:
    try:
        crypto_sign_open(signature + signed, key)
    except (CryptoError, ValueError, TypeError):
        return _holds_by_openssl(signed, signature, key)
    return True


def _holds_by_openssl(signed: bytes, signature: bytes, key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def distinct(keys: Iterable[str]) -> tuple[bytes, ...]:
    """Raw keys from hex."""
    return tuple(bytes.fromhex(key) for key in sorted(keys))
