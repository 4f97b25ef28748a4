"""Files to the ledger: small ones in one request, large ones in parts that an interruption does not undo.

The ledger finds an upload again by the file's SHA-256 and says which parts it has, each with its digest. What it
has right is not sent again.
"""

from __future__ import annotations

import hashlib
import logging
from http import HTTPStatus
from typing import Final
from uuid import UUID

from pydantic import BaseModel, NonNegativeInt, PositiveInt, StrictBool, ValidationError

from prover_worker.errors import AgentError, Refused
from prover_worker.ledger_http import LedgerHttp

logger = logging.getLogger(__name__)

WHOLE: Final = 8 * 1024 * 1024  # bytes up to which a file goes in one request
_BYTES: Final = {"Content-Type": "application/octet-stream"}
_ROUNDS: Final = 3


class _Part(BaseModel):
    number: PositiveInt
    sha256: str


class _Upload(BaseModel):
    """What the ledger says about an upload, as far as it matters here."""

    id: UUID | None
    complete: StrictBool
    partSize: PositiveInt | None  # noqa: N815 - as in the answer
    parts: NonNegativeInt
    received: list[_Part]


def upload(http: LedgerHttp, data: bytes) -> str:
    """Store bytes under their SHA-256, which is returned."""
    digest = hashlib.sha256(data).hexdigest()
    if len(data) <= WHOLE or not _in_parts(http, data, digest):
        http.request("PUT", f"blobs/{digest}", content=data, headers=_BYTES)
    return digest


def _in_parts(http: LedgerHttp, data: bytes, digest: str) -> bool:
    """Whether the ledger took it; False: it is an old one that knows no parts."""
    for round_ in range(_ROUNDS):
        try:
            under_way = _begin(http, data, digest)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND and round_ == 0:
                return False
            raise
        if under_way.complete:
            return True
        try:
            _send_missing(http, data, under_way)
            http.request("POST", f"uploads/{under_way.id}/complete", json={})
        except Refused as refused:
            # Gone: it expired, or a first answer was lost and the file is complete. Else parts changed meanwhile.
            if refused.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise
            logger.warning("%s; asking for the upload again", refused)
        else:
            return True
    raise AgentError(f"the ledger does not complete the upload of {digest}; try again, or tell its operator")


def _begin(http: LedgerHttp, data: bytes, digest: str) -> _Upload:
    answer = http.request("POST", "uploads", json={"sha256": digest, "size": len(data)})
    try:
        found = _Upload.model_validate_json(answer.content)
    except ValidationError as error:
        raise AgentError(f"the ledger sent an upload that is none ({error.error_count()} mistakes)") from error
    if not found.complete and (
        found.id is None or found.partSize is None or found.parts != -(-len(data) // found.partSize)
    ):
        raise AgentError(f"the ledger wants {found.parts} parts of {found.partSize} bytes for {len(data)} bytes")
    return found


def _send_missing(http: LedgerHttp, data: bytes, under_way: _Upload) -> None:
    there = {part.number: part.sha256 for part in under_way.received}
    size = under_way.partSize or len(data)
    for number in range(1, under_way.parts + 1):
        part = data[(number - 1) * size : number * size]
        if there.get(number) == hashlib.sha256(part).hexdigest():
            continue
        http.request("PUT", f"uploads/{under_way.id}/parts/{number}", content=part, headers=_BYTES)
        logger.info("part %d of %d sent", number, under_way.parts)
