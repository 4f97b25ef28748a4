"""The log's side: ask one witness once, and say what its answer means. Never raises for what a witness does."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from ledger.tlog.cosignature import read_cosignatures
from ledger.tlog.errors import NoteError
from ledger.tlog.note import parse_note
from ledger.witness.errors import RequestError
from ledger.witness.policy import WitnessAddress
from ledger.witness.protocol import MAX_ANSWER_BYTES, PATH, AddCheckpoint, parse_size

SECONDS: Final = 5.0  # for one request, all of it


class Kind(StrEnum):
    """What an answer means."""

    COSIGNED = "cosigned"
    CONFLICT = "conflict"  # the witness has cosigned another size than we thought
    NO_EXTENSION = "no-extension"  # what we propose does not extend what the witness has cosigned
    REFUSED = "refused"  # any other status
    WRONG_KEY = "wrong-key"  # an answer without a cosignature by the configured key
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Outcome:
    """A witness's answer: `line` and `time` if cosigned, `size` if in conflict, `message` for people otherwise."""

    kind: Kind
    message: str = ""
    line: str = ""
    time: int = 0
    size: int = 0


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes


def ask(
    witness: WitnessAddress, note: str, old_size: int, proof: Sequence[bytes], seconds: float = SECONDS
) -> Outcome:
    """Ask for a cosignature on the checkpoint `note`, proved to extend the first `old_size` entries."""
    body = AddCheckpoint(old_size, tuple(proof), note).format()
    try:
        reply = _post(witness.url + PATH, body, seconds)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return Outcome(Kind.UNREACHABLE, f"no answer from {witness.url}: {type(error).__name__} {error}")
    return _read(witness, note, reply)


def _read(witness: WitnessAddress, note: str, reply: _Reply) -> Outcome:
    text = reply.body.decode(errors="replace")
    if reply.status == 200:
        return _read_cosignature(witness, note, text)
    said = "".join(c if c.isprintable() else " " for c in text[:200]).strip()
    if reply.status == 409:
        try:
            return Outcome(Kind.CONFLICT, size=parse_size(text.removesuffix("\n")))
        except RequestError as error:
            return Outcome(Kind.REFUSED, f"status 409 without a size: {error}")
    if reply.status == 422:
        return Outcome(Kind.NO_EXTENSION, said)
    return Outcome(Kind.REFUSED, f"status {reply.status}: {said}")


def _read_cosignature(witness: WitnessAddress, note: str, text: str) -> Outcome:
    """Keep the configured key's line alone, whatever else stands in the answer."""
    body = parse_note(note).body
    try:
        for line in (f"{written}\n" for written in text.removesuffix("\n").split("\n")):
            times = read_cosignatures(line, body, [witness.verifier])
            if times:
                return Outcome(Kind.COSIGNED, line=line, time=times[witness.vkey])
    except NoteError as error:
        return Outcome(Kind.WRONG_KEY, str(error))
    return Outcome(Kind.WRONG_KEY, f"the answer holds no cosignature by {witness.vkey}")


def _post(url: str, body: bytes, seconds: float) -> _Reply:
    """POST without following redirects, in `seconds` altogether. Raises OSError or HTTPException."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port)
    connection = (
        http.client.HTTPSConnection(*address, timeout=seconds, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(*address, timeout=seconds)
    )
    # The connection's own timeout is per read: a witness that trickles would hold the log up for hours.
    cut = threading.Event()
    late = threading.Timer(seconds, _cut, [connection, cut])
    late.daemon = True
    late.start()
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "text/plain; charset=utf-8"})
        response = connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        if cut.is_set():  # what was read by then may look like a short answer
            raise TimeoutError(f"no whole answer within {seconds} seconds")
        if response.length:
            raise http.client.HTTPException(f"the answer ended {response.length} bytes early")
        return _Reply(response.status, data)
    finally:
        late.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection, cut: threading.Event) -> None:
    cut.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
