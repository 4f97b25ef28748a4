r"""The file in which one proof's columns wait for a worker, and the file in which its proof comes back.

Columns, integers big-endian:

    "unlearning-ledger/columns/v1\n"
    u8 number of columns, then for each: u32 rows, and 32 bytes for each of its field elements, below R

They are what a proof's witness is, and no more: weights of this chunk can be read from them, the salt seed, the
factors and the client's signing key cannot. A proof is JSON with the figures of making it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError

from prover_worker.errors import AgentError
from prover_worker.field import R, Vector

_MAGIC: Final = b"unlearning-ledger/columns/v1\n"
_ELEMENT: Final = 32


class Made(BaseModel):
    """A proof that a worker hands in; `seconds` of CPU, `peak_mb` of its process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    proof: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]
    seconds: NonNegativeFloat
    peak_mb: NonNegativeFloat
    form: Literal[1] = 1

    @classmethod
    def read(cls, data: bytes) -> Made:
        """Raises AgentError unless `data` is such a file."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise AgentError(f"a worker's file is no proof ({error.error_count()} mistakes)") from error


def format_columns(columns: Sequence[Vector]) -> bytes:
    """Columns as bytes; elements are reduced modulo R."""
    parts = [_MAGIC, len(columns).to_bytes(1, "big")]
    for column in columns:
        parts.append(len(column).to_bytes(4, "big"))
        parts += [(x % R).to_bytes(_ELEMENT, "big") for x in column]
    return b"".join(parts)


def parse_columns(data: bytes) -> list[Vector]:
    """Inverse of format_columns. Raises AgentError unless `data` is exactly that."""
    if not data.startswith(_MAGIC):
        raise AgentError(f"columns begin with {_MAGIC!r}; got {data[: len(_MAGIC)]!r}")
    at, columns = len(_MAGIC) + 1, list[Vector]()
    for _ in range(int.from_bytes(data[at - 1 : at], "big")):
        rows = int.from_bytes(data[at : at + 4], "big")
        end = at + 4 + rows * _ELEMENT
        if len(data) < max(end, at + 4):
            raise AgentError(f"columns end after {len(data)} bytes; expected at least {end}")
        column = [int.from_bytes(data[i : i + _ELEMENT], "big") for i in range(at + 4, end, _ELEMENT)]
        if any(x >= R for x in column):
            raise AgentError("a column holds a number that is no field element")
        columns.append(column)
        at = end
    if at != len(data) or not columns:
        raise AgentError(f"columns take {at} bytes; the file has {len(data)}")
    return columns
