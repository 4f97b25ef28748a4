"""What the transparency log's pure core raises on bad input."""

from __future__ import annotations


class TlogError(ValueError):
    """Base of all errors of this package: the input is wrong, not the program."""


class ProofError(TlogError):
    """An inclusion or consistency proof does not hold, or was asked for outside the tree."""


class NoteError(TlogError):
    """A signed note, or a key for one, is malformed, unsigned by a known key, or wrongly signed."""


class CheckpointError(TlogError):
    """A note's text is no checkpoint, or is the checkpoint of another log."""


class QuorumError(TlogError):
    """Too few trusted witnesses have cosigned a checkpoint."""


class TileError(TlogError):
    """A path names no tile, or bytes are no tile or entry bundle."""
