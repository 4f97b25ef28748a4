"""Lets timm import a torchvision whose compiled operators do not load (CPU torch beside a CUDA torchvision).

timm imports torchvision at its top, and such a torchvision fails to import because the operators
`torchvision::nms` and `torchvision::qnms` have no schema. Nothing here ever calls them, so a schema is
enough. Where torchvision imports by itself, this module changes nothing.
"""

from __future__ import annotations

import importlib
import sys
import warnings

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # the registration lives as long as this object


def ensure_torchvision() -> None:
    """Import torchvision, defining the two missing schemas first where that is what it fails on.

    Raises whatever else the import fails on.
    """
    global _library  # noqa: PLW0603 - a process-wide registration, made once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same broken builds warn about their image codecs
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error) or _library is not None:
                raise
            _library = torch.library.Library("torchvision", "DEF")
            for schema in _SCHEMAS:
                _library.define(schema)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]  # half-imported modules of the failed attempt
            importlib.import_module("torchvision")
