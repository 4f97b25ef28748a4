r"""What an audit bundle holds, version 2. Everything but the files themselves is text.

    README.txt        what this is and how to check it; the same words in every bundle of this version
    manifest.json     canonical JSON, one line: see `Manifest`
    checkpoint        signed note: the head that everything is proved in, with its cosignatures
    entries.txt       "INDEX LEAF\n": log index and the leaf's bytes (a DSSE envelope), ascending
    tree.txt          "LEVEL INDEX HASH\n": hashes of the subtrees that hold none of these entries, left to right
                      (`ledger.tlog.multiproof`): with them the entries' own hashes give the checkpoint's root
    consistency.txt   "SIZE HASH HASH …\n": proof that the log's first SIZE entries are a past of the checkpoint,
                      for every challenge's checkpoint, and for an earlier one that was asked for; ascending
    files/SHA256      what statements name by digest: masks, point files, proofs, verifier files of circuit releases

in this order, files by ascending name, in the zip of `ledger.bundle.container`. Numbers are decimal without leading
zeros, hashes lower-case hex. `files_of` says which files a statement names; a bundle holds these and no others.
A bundle made with `proofs: digests` leaves the clients' proofs out: their digests stand in the statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ledger.bundle.errors import BundleFormatError
from ledger.statements import canonical
from ledger.statements import predicates as kinds
from ledger.statements.dsse import MAX_ENVELOPE_BYTES
from ledger.statements.errors import StatementError
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import Count, Uuid
from ledger.statements.predicates.circuit_release import ROLES
from ledger.tlog.multiproof import Subtree

FORMAT: Final = "unlearning-audit-bundle/v2"
README: Final = "README.txt"
MANIFEST: Final = "manifest.json"
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries.txt"
TREE: Final = "tree.txt"
CONSISTENCY: Final = "consistency.txt"
FILES: Final = "files/"
#: Those that every bundle has, in their order.
FIXED: Final = (README, MANIFEST, CHECKPOINT, ENTRIES, TREE, CONSISTENCY)
NAMES: Final = re.compile(rf"{'|'.join(re.escape(name) for name in FIXED)}|{FILES}[0-9a-f]{{64}}", re.ASCII)

MAX_ENTRIES: Final = 2_000_000
MAX_TEXT_BYTES: Final = 1 << 20  # of manifest and checkpoint each
MAX_FILE_BYTES: Final = 1 << 30
MAX_LINE: Final = MAX_ENVELOPE_BYTES + 20
NAMING_FILES: Final = frozenset(
    {
        kinds.CircuitRelease, kinds.ModelCommitment, kinds.Mask, kinds.Claim, kinds.Proof, kinds.ContinuationProof,
    }
)  # fmt: skip
_MOST_DIGITS: Final = 18
_ZERO: Final = ord("0")
_HASH: Final = re.compile(rb"[0-9a-f]{64}", re.ASCII)

README_TEXT: Final = """\
An audit bundle of an unlearning ledger.

It holds what a provider's public log says about requests to have a model forget, and the files that this rests on.
Nothing else is needed to check it, no server and no network. With Python 3.11 or later:

    pip install unlearning-ledger
    unlearning-verify BUNDLE.zip --log-vkey VKEY --provider-key HEX

The two keys must come from the provider by another way than this file. To verify the zero-knowledge proofs again,
install unlearning-ledger[proofs] and add --proofs all. How to check a certificate with openssl and a few lines of
Python, and what every byte means: verify-by-hand.md and formats.md in the documentation of unlearning-ledger.

A bundle shows that what is in it stands in the log and fits together. It cannot show that nothing was left out.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class WindowScope(_Strict):
    """A bundle about one window."""

    kind: Literal["window"] = "window"
    window: Uuid


class PeriodScope(_Strict):
    """A bundle about all windows that closed and requests that were filed from entry `first` to `last`."""

    kind: Literal["period"] = "period"
    first: Count
    last: Count


class Manifest(_Strict):
    """What the bundle is about. Keys are those of the log's start; rotations lead to later ones."""

    format: Literal["unlearning-audit-bundle/v2"] = "unlearning-audit-bundle/v2"
    scope: Annotated[WindowScope | PeriodScope, Field(discriminator="kind")]
    origin: str = Field(min_length=1, max_length=300)
    log_vkey: str = Field(min_length=1, max_length=500)
    provider_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: Count = Field(description="of the checkpoint")
    entries: Count
    proofs: Literal["included", "digests"]


def format_manifest(manifest: Manifest) -> bytes:
    """Inverse of parse_manifest."""
    return canonical.dumps(manifest.model_dump(mode="json", by_alias=True)) + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest. Raises BundleFormatError."""
    try:
        members = canonical.loads(data, "the manifest")
        if isinstance(members, dict) and members.get("format") != FORMAT:
            raise BundleFormatError(f"this is a bundle of format {members.get('format')!r:.80}; expected {FORMAT}")
        manifest = Manifest.model_validate_json(data, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the object"
        raise BundleFormatError(f"the manifest is not valid: {where}: {first['msg']}") from error
    except StatementError as error:
        raise BundleFormatError(str(error)) from error
    if format_manifest(manifest) != data:
        raise BundleFormatError("the manifest is not in canonical JSON, one line")
    return manifest


def format_entry(index: int, leaf: bytes) -> bytes:
    """Inverse of parse_entry, with the line's end."""
    return b"%d %b\n" % (index, leaf)


def parse_entries(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(index, leaf), ascending. Raises BundleFormatError."""
    before = -1
    for number, line in enumerate(lines, 1):
        head, _, leaf = line.partition(b" ")
        index = _number(head, ENTRIES, number)
        if index <= before:
            raise BundleFormatError(
                f"line {number} of {ENTRIES} has index {index} after {before}; they must ascend"
            )
        if number > MAX_ENTRIES:
            raise BundleFormatError(f"{ENTRIES} has more than {MAX_ENTRIES} entries")
        yield index, leaf
        before = index


def format_subtree(level: int, index: int, value: bytes) -> bytes:
    """Inverse of parse_tree for one line."""
    return b"%d %d %b\n" % (level, index, value.hex().encode())


def parse_tree(lines: Iterable[bytes]) -> Iterator[Subtree]:
    """(level, index, hash), as they stand. Raises BundleFormatError."""
    for number, line in enumerate(lines, 1):
        parts = line.split(b" ")
        if len(parts) != 3:
            raise BundleFormatError(
                f"line {number} of {TREE} has {len(parts)} parts, expected level, index and hash"
            )
        yield _number(parts[0], TREE, number), _number(parts[1], TREE, number), _hash(parts[2], TREE, number)


def format_consistency(size: int, proof: Iterable[bytes]) -> bytes:
    """Inverse of parse_consistency for one line."""
    return b" ".join([b"%d" % size, *(node.hex().encode() for node in proof)]) + b"\n"


def parse_consistency(lines: Iterable[bytes]) -> dict[int, list[bytes]]:
    """Proofs by old size. Raises BundleFormatError."""
    found: dict[int, list[bytes]] = {}
    before = -1
    for number, line in enumerate(lines, 1):
        head, *nodes = line.split(b" ")
        size = _number(head, CONSISTENCY, number)
        if size <= before:
            raise BundleFormatError(
                f"line {number} of {CONSISTENCY} has size {size} after {before}; they must ascend"
            )
        found[size] = [_hash(node, CONSISTENCY, number) for node in nodes]
        before = size
    return found


def files_of(said: Predicate, proofs: Literal["included", "digests"] = "included") -> list[tuple[str, str]]:
    """The files that a bundle must have for a statement: (SHA-256, what it is)."""
    if type(said) not in NAMING_FILES:
        return []
    match said:
        case kinds.CircuitRelease():
            digests = said.file_digests()
            return [(digests[role], f"the circuit release's {role}") for role in ROLES]
        case kinds.ModelCommitment():
            return [(said.weights_sha256, "committed weights"), (said.curvature_sha256, "committed curvature")]
        case kinds.Mask():
            directions = said.directions_sha256
            more = [] if directions is None else [(directions, "a mask's forget directions")]
            return [(said.mask_sha256, "a mask"), *more]
        case kinds.Claim():
            return [(said.weights_sha256, "claimed weights"), (said.solution_sha256, "a solution's points")]
    digest = proof_of(said)
    return [] if digest is None or proofs == "digests" else [(digest, "a client's proofs")]


def proof_of(said: Predicate) -> str | None:
    """The SHA-256 of the proofs that a statement hands in, which a bundle may leave out."""
    return said.bundle_sha256 if isinstance(said, kinds.Proof | kinds.ContinuationProof) else None


def _number(text: bytes, where: str, line: int) -> int:
    if not text.isdigit() or len(text) > _MOST_DIGITS or (text[0] == _ZERO and len(text) > 1):
        raise BundleFormatError(f"line {line} of {where} has {text[:40]!r} in a number's place")
    return int(text)


def _hash(text: bytes, where: str, line: int) -> bytes:
    if not _HASH.fullmatch(text):
        raise BundleFormatError(f"line {line} of {where} has {text[:80]!r} in a hash's place")
    return bytes.fromhex(text.decode())
