"""Files whose download goes on where it broke off: single ranges of bytes (RFC 9110 section 14).

Django's FileResponse knows no ranges, and WhiteNoise's serve the files of a folder. Several ranges at once, other
units and what is no range at all are ignored, as the RFC allows: the answer is the whole file. So is a range whose
If-Range names another version of it.
"""

from __future__ import annotations

import os
import re
from typing import Any, BinaryIO, Final

from django.http import FileResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from ledger.api import etags
from ledger.api.problems import problem

HEADERS: Final = ("Range", "If-Range")
_ONE: Final = re.compile(r"bytes=[ \t,]*(\d{0,18})-(\d{0,18})[ \t,]*", re.ASCII | re.IGNORECASE)


def send(request: Request, file: BinaryIO, tag: str, **said: Any) -> HttpResponseBase:
    """The file, or the part that is asked for, or 304 or 416; whatever it is closes the file.

    `tag` is the file's strong entity tag, `said` what FileResponse takes.
    """
    unchanged = etags.not_modified(request, tag)
    if unchanged is not None:
        file.close()
        return unchanged
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    wanted = asked_for(request, tag, size)
    if wanted is None:
        answer = FileResponse(file, **said)
    elif not wanted:
        file.close()
        got = request.headers["Range"][:80]
        sentence = f"got the range {got!r} of a file of {size} bytes: ask for bytes that it has"
        return problem(416, "no-such-range", sentence, {"Content-Range": f"bytes */{size}"})
    else:
        file.seek(wanted.start)
        answer = FileResponse(_Part(file, len(wanted)), status=206, **said)
        answer["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
        answer["Content-Length"] = str(len(wanted))
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"] = tag
    answer["Cache-Control"] = "private, no-cache"  # whoever asks must be allowed to, each time
    return answer


def asked_for(request: Request, tag: str, size: int) -> range | None:
    """Which bytes of a file of that size and tag; None: all of them; empty: some that it does not have."""
    found = _ONE.fullmatch(request.headers.get("Range", "")) if request.method == "GET" else None
    if found is None or request.headers.get("If-Range", tag) != tag:
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if not last:
        return range(int(first), size)
    return range(int(first), min(int(last) + 1, size)) if int(first) <= int(last) else None


class _Part:
    """The next `count` bytes of a file and no more, for FileResponse and the server's file wrapper."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._left = count
        self._read, self.close = file.read, file.close

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        data = self._read(min(size, self._left))
        self._left -= len(data)
        return data
