"""What a witness may cosign: bytes in, answer out. Files, sockets and the clock come in from outside.

`Witness.add_checkpoint`, numbered as in the code:

1. the request is well formed, else 400;
2. the origin is known, else 404;
3. a key known for that origin signed the checkpoint, else 403;
4. the old size is not above the new one, else 400;
5. under the origin's lock, the old size is what was cosigned last, else 409 with that size;
6. at the same size the root is the same, else 409: **a fork**, and both notes are kept as evidence;
7. the new tree extends the old one, else 422;
8. cosign, persist, and only then answer 200.

Crash order: a cosignature leaves the witness only after the checkpoint is on disk. Dying before that leaves the
old state and no cosignature; dying after it leaves a witness that is ahead of the log, which then learns the size
by a 409 and gets its cosignature for the same tree.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import CosignatureSigner
from ledger.tlog.errors import NoteError, ProofError, TlogError
from ledger.tlog.merkle import EMPTY_ROOT, verify_consistency
from ledger.tlog.note import NoteVerifier, ParsedNote, open_note, parse_note, signature_line
from ledger.witness.errors import RequestError, StateError
from ledger.witness.protocol import SIZE_TYPE, TEXT_TYPE, AddCheckpoint

logger = logging.getLogger(__name__)

OK: Final = 200


class Heads(Protocol):
    """Keeps one text for each origin: the note of the checkpoint that was cosigned last."""

    def exclusive(self, origin: str) -> AbstractContextManager[None]:
        """Let nobody else, thread or process, load or save this origin meanwhile."""
        ...

    def load(self, origin: str) -> str | None:
        """Return what was saved last; None if nothing ever was. Raises OSError or StateError."""
        ...

    def save(self, origin: str, note: str) -> None:
        """Replace the text; on return it survives a power cut. Raises OSError, with the old text in place."""
        ...

    def keep_evidence(self, name: str, text: str) -> None:
        """Keep a text under a name for ever, for people to look at."""
        ...


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = TEXT_TYPE


class Witness:
    """Cosigns checkpoints of the logs it knows: origin → verifier keys."""

    def __init__(
        self,
        signer: CosignatureSigner,
        logs: Mapping[str, Sequence[NoteVerifier]],
        heads: Heads,
        clock: Callable[[], float],
    ) -> None:
        self._signer, self._logs, self._heads, self._clock = signer, logs, heads, clock

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request. Raises OSError or StateError where the state cannot be read or kept."""
        try:
            request = AddCheckpoint.parse(body)  # 1
            note = parse_note(request.note)
            checkpoint = Checkpoint.parse(note.body)
        except (RequestError, TlogError) as error:
            return _refuse(400, str(error))
        verifiers = self._logs.get(checkpoint.origin)
        if verifiers is None:  # 2
            return _refuse(404, f"this witness does not know the log {checkpoint.origin!r}")
        try:
            open_note(request.note, verifiers)  # 3
        except NoteError as error:
            return _refuse(403, str(error))
        if request.old_size > checkpoint.size:  # 4
            return _refuse(400, f"the old size {request.old_size} is above the checkpoint's {checkpoint.size}")
        with self._heads.exclusive(checkpoint.origin):
            return self._decide(request, _only(note, verifiers), checkpoint)

    def latest(self, origin: str) -> Checkpoint:
        """The checkpoint cosigned last; the empty tree where there is none. Raises OSError or StateError."""
        return self._open(origin, self._heads.load(origin))

    def _decide(self, request: AddCheckpoint, note: ParsedNote, checkpoint: Checkpoint) -> Answer:
        kept = self._heads.load(checkpoint.origin)
        last = self._open(checkpoint.origin, kept)
        if request.old_size != last.size:  # 5
            return _conflict(last)
        if checkpoint.size == last.size and checkpoint.root != last.root:  # 6
            self._report_fork(kept, note, checkpoint)
            return _conflict(last)
        try:  # 7
            verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, request.proof)
        except ProofError as error:
            logger.warning("%s refused at size %d: %s", checkpoint.origin, checkpoint.size, error)
            return _refuse(422, str(error))
        line = self._signer.line(note.body.encode(), int(self._clock()))  # 8
        self._heads.save(checkpoint.origin, _text(note) + line)
        return Answer(OK, line.encode())

    def _open(self, origin: str, kept: str | None) -> Checkpoint:
        """The kept text carries our own cosignature, so damage to it shows."""
        if kept is None:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        try:
            checkpoint = Checkpoint.parse(open_note(kept, [self._signer.verifier]).body)
        except TlogError as error:
            raise StateError(
                f"the state kept for the log {origin!r} is damaged or another key's: {error}"
            ) from error
        if checkpoint.origin != origin:
            raise StateError(f"the state kept for the log {origin!r} is that of {checkpoint.origin!r}")
        return checkpoint

    def _report_fork(self, kept: str | None, note: ParsedNote, checkpoint: Checkpoint) -> None:
        logger.error("FORK: %s has signed two trees of size %d", checkpoint.origin, checkpoint.size)
        name = f"fork-{checkpoint.size}-{hashlib.sha256(note.body.encode()).hexdigest()[:32]}"
        self._heads.keep_evidence(name, f"{kept or ''}\n{_text(note)}")


def _only(note: ParsedNote, verifiers: Sequence[NoteVerifier]) -> ParsedNote:
    """The note with the log's own signatures alone: what others appended is not kept."""
    known = {(verifier.name, verifier.key_id) for verifier in verifiers}
    return ParsedNote(note.body, tuple(dict.fromkeys(line for line in note.signatures if line[:2] in known)))


def _text(note: ParsedNote) -> str:
    return note.body + "\n" + "".join(signature_line(*line) for line in note.signatures)


def _conflict(last: Checkpoint) -> Answer:
    return Answer(409, b"%d\n" % last.size, SIZE_TYPE)


def _refuse(status: int, sentence: str) -> Answer:
    return Answer(status, sentence.encode(errors="replace") + b"\n")
