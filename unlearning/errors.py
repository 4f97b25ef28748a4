"""What can go wrong in this package. Every message says what was got, what was expected and what to do."""

from __future__ import annotations


class UnlearningError(ValueError):
    """Base of all errors of this package: bad input, never a broken invariant."""


class ArchitectureError(UnlearningError):
    """An architecture description, or weights that do not fit it."""


class DatasetError(UnlearningError):
    """A dataset that is unknown, absent or malformed."""


class MaskError(UnlearningError):
    """A mask, a mask file, or a setting that no usable mask follows from."""


class GridError(UnlearningError):
    """Integers of the lattice form that are out of range or of the wrong shape."""


class CurvatureError(UnlearningError):
    """Curvature that cannot be computed or is not positive definite."""


class EvaluationError(UnlearningError):
    """A figure that cannot be computed: too few samples, or logits that are not finite."""


class FetchError(UnlearningError):
    """A data set that could not be brought to this machine."""
