"""Reading audit bundles as an outsider would."""

from __future__ import annotations

import base64
import json
from typing import Any


def predicate(bundle: Any, index: int) -> Any:
    """What a log entry of the bundle says."""
    (entry,) = (entry for entry in bundle["entries"] if entry["index"] == index)
    envelope = json.loads(base64.b64decode(entry["envelope"]))
    return json.loads(base64.b64decode(envelope["payload"]))["predicate"]
