r"""Proof bundle, version 2: all proofs of one claim in one file.

    "unlearning-proof/v2\n"
    u32 number of relation proofs, then for each, by ascending chunk:   u32 chunk, u32 length, packed proof
    u32 number of range proofs, then for each, by ascending group:      u32 group, u32 length, packed proof

Integers are big-endian; packing.py says how a proof is packed. Public outputs are not written: they are zero or the
proof is worthless. The reader takes nothing but this: no gaps in order, no trailing bytes, no packed proof longer
than 1 MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prover_worker.errors import BundleError
from prover_worker.packing import pack, unpack

_MAGIC = b"unlearning-proof/v2\n"
_LIMIT = 1 << 20

Section = Mapping[int, bytes]


@dataclass(frozen=True)
class ProofBundle:
    """Raw proofs by touched chunk, and by range group."""

    relations: Mapping[int, bytes]
    ranges: Mapping[int, bytes]


def format_bundle(bundle: ProofBundle) -> bytes:
    """Inverse of parse_bundle."""
    return _MAGIC + format_section(bundle.relations) + format_section(bundle.ranges)


def parse_bundle(data: bytes) -> ProofBundle:
    """Read a bundle. Raises BundleError, saying where, unless `data` is exactly one."""
    if not data.startswith(_MAGIC):
        raise BundleError(f"a proof bundle begins with {_MAGIC!r}; got {data[: len(_MAGIC)]!r}")
    relations, offset = parse_section(data, len(_MAGIC))
    ranges, offset = parse_section(data, offset)
    if offset != len(data):
        raise BundleError(f"{len(data) - offset} bytes follow the end of the proof bundle; expected none")
    return ProofBundle(relations, ranges)


def format_section(proofs: Section) -> bytes:
    """A counted list of proofs by number; inverse of parse_section."""
    out = [len(proofs).to_bytes(4, "big")]
    for key in sorted(proofs):
        packed = pack(proofs[key])
        out += [key.to_bytes(4, "big"), len(packed).to_bytes(4, "big"), packed]
    return b"".join(out)


def parse_section(data: bytes, offset: int) -> tuple[dict[int, bytes], int]:
    """The list that begins at `offset`, and where it ends. Raises BundleError."""
    count, offset = _u32(data, offset)
    proofs: dict[int, bytes] = {}
    last = -1
    for _ in range(count):
        key, offset = _u32(data, offset)
        length, offset = _u32(data, offset)
        if key <= last:
            raise BundleError(f"proof {key} follows proof {last}; expected ascending order without repeats")
        if length > _LIMIT or offset + length > len(data):
            raise BundleError(f"proof {key} claims {length} bytes; {len(data) - offset} are left, {_LIMIT} allowed")
        proofs[key], offset, last = unpack(data[offset : offset + length]), offset + length, key
    return proofs, offset


def _u32(data: bytes, offset: int) -> tuple[int, int]:
    if offset + 4 > len(data):
        raise BundleError(f"the proof bundle ends after {len(data)} bytes, inside a number at byte {offset}")
    return int.from_bytes(data[offset : offset + 4], "big"), offset + 4
