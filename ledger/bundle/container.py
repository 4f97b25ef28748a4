"""The zip around a bundle: one form only, so equal contents are equal bytes, and nothing else is read.

A bundle is a zip archive that any unzip program opens, restricted until nothing is left to choose:

- members are stored, not compressed; each one's local header, then its bytes, without gaps, from offset 0;
- names are plain ASCII and known to the reader; no folders, comments, encryption, data descriptors, extra fields;
- every member is a regular file with mode 0644 and the date 1980-01-01;
- an offset that needs more than 32 bits stands in a ZIP64 extra field of its central record, and archives with
  such offsets, or with more than 65,534 members, have the ZIP64 end records; a member is shorter than 4 GiB.

Every header is a function of name, CRC, size and offset. The writer writes it; the reader makes it again and
compares. So a reader never trusts a length that the file does not have, and there is nothing to inflate.
(PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.4, has the fields.)
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from ledger.bundle.errors import BundleFormatError

MAX_MEMBERS: Final = 1_000_000
MAX_MEMBER_BYTES: Final = (1 << 32) - 2
PIECE: Final = 1 << 20

_NAME_BYTES: Final = 200
_DATE: Final = 0x21  # 1980-01-01; the time is 0
_MODE: Final = 0o100644 << 16
_MADE_BY: Final = 3 << 8 | 45  # Unix
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_END: Final = struct.Struct("<4sHHHHIIH")
_MANY: Final = 0xFFFF
_FAR: Final = 0xFFFFFFFF


class Member(NamedTuple):
    """A file of the archive. `offset` is that of its local header."""

    name: str
    crc: int
    size: int
    offset: int

    @property
    def start(self) -> int:
        """Where its bytes begin."""
        return self.offset + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.start + self.size

    def local(self) -> bytes:
        """Its local header."""
        size, name = self.size, self.name.encode("ascii")
        return _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _DATE, self.crc, size, size, len(name), 0) + name

    def central(self) -> bytes:
        """Its record in the central directory."""
        far = self.offset >= _FAR
        extra = struct.pack("<HHQ", 1, 8, self.offset) if far else b""
        name, size = self.name.encode("ascii"), self.size
        return (
            _CENTRAL.pack(
                b"PK\1\2", _MADE_BY, 45 if far else 20, 0, 0, 0, _DATE, self.crc, size, size, len(name), len(extra),
                0, 0, 0, _MODE, _FAR if far else self.offset,
            )
            + name + extra
        )  # fmt: skip


def _tail(count: int, offset: int, size: int) -> bytes:
    """What follows the central directory of `count` records and `size` bytes at `offset`."""
    out, many, far = b"", count >= _MANY, offset >= _FAR or size >= _FAR
    if many or far:
        out = _END64.pack(b"PK\6\6", _END64.size - 12, _MADE_BY, 45, 0, 0, count, count, size, offset)
        out += _LOCATOR64.pack(b"PK\6\7", 0, offset + size, 1)
    short = min(count, _MANY)
    return out + _END.pack(b"PK\5\6", 0, 0, short, short, min(size, _FAR), min(offset, _FAR), 0)


class Writer:
    """Writes one archive into a seekable binary file, from its beginning, a piece at a time in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._members = file, list[Member]()

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """Append a member. Raises BundleFormatError where it, or the archive, gets too large."""
        offset = self._members[-1].end if self._members else 0
        start = Member(name, 0, 0, offset).start
        self._file.seek(start)
        crc = size = 0
        for piece in pieces:
            self._file.write(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            if size > MAX_MEMBER_BYTES:
                raise BundleFormatError(f"{name} is longer than {MAX_MEMBER_BYTES} bytes: ask for less at a time")
        if len(self._members) == MAX_MEMBERS:
            raise BundleFormatError(f"a bundle has at most {MAX_MEMBERS} files: ask for less at a time")
        self._members.append(Member(name, crc, size, offset))
        self._file.seek(offset)
        self._file.write(self._members[-1].local())

    def close(self) -> int:
        """Write the central directory; returns the archive's length."""
        offset = self._members[-1].end if self._members else 0
        self._file.seek(offset)
        size = 0
        for member in self._members:
            size += self._file.write(member.central())
        self._file.write(_tail(len(self._members), offset, size))
        self._file.truncate()
        return self._file.tell()


class _Window:
    """A stretch of a file that is read in order, by pieces: never more than one in memory."""

    def __init__(self, read: Callable[[int, int], bytes], stop: int) -> None:
        self._read, self._stop, self._first, self._held = read, stop, 0, b""

    def at(self, offset: int, size: int) -> bytes:
        """The bytes there, fewer where the stretch ends."""
        start = offset - self._first
        if not 0 <= start <= len(self._held) - size:
            self._first, start = offset, 0
            self._held = self._read(offset, max(0, min(max(size, PIECE), self._stop - offset)))
        return self._held[start : start + size]


class Container:
    """Reads one archive of that form, and nothing else."""

    def __init__(self, file: BinaryIO, names: re.Pattern[str]) -> None:
        """Check the archive's form. Raises BundleFormatError. Only names are read into memory.

        `names`: what a member may be called, whole.
        """
        self._file, self._names = file, names
        self._descriptor = _descriptor(file)
        count, offset, size = self._end()
        self.members: dict[str, Member] = {}
        position = 0
        for member in self._central(count, offset, size):
            if member.name in self.members:
                raise BundleFormatError(f"the bundle has two files called {member.name!r}")
            self._check_local(member, position)
            self.members[member.name], position = member, member.end
        if position != offset:
            raise BundleFormatError(f"the bundle's files end at byte {position}, its directory begins at {offset}")

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member's bytes, a piece at a time. Raises BundleFormatError: no such member, or another CRC-32."""
        member = self._member(name)
        at, end, crc = member.start, member.end, 0
        while at < end:
            piece = self._at(at, min(PIECE, end - at))
            if not piece:
                raise BundleFormatError(f"the bundle ends inside {name}")
            at, crc = at + len(piece), zlib.crc32(piece, crc)
            yield piece
        _expect_crc(member, crc)

    def check(self, name: str) -> None:
        """Read a member and forget it. Raises BundleFormatError as `pieces` does."""
        for _ in self.pieces(name):
            pass

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes. Raises BundleFormatError as `pieces` does, or if there are more than `limit`."""
        member = self._member(name)
        if member.size > limit:
            raise BundleFormatError(f"the bundle's {name} has {member.size} bytes; at most {limit} are read")
        if member.size > PIECE:
            return b"".join(self.pieces(name))
        data = self._at(member.start, member.size)
        if len(data) != member.size:
            raise BundleFormatError(f"the bundle ends inside {name}")
        _expect_crc(member, zlib.crc32(data))
        return data

    def lines(self, name: str, limit: int) -> Iterator[bytes]:
        """A member's lines without their ends. Raises BundleFormatError also for a line longer than `limit` bytes,
        or a last one without its end.
        """
        rest = b""
        for piece in self.pieces(name):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if len(line) > limit:
                    break
                yield line
            else:
                if len(rest) <= limit:
                    continue
            raise BundleFormatError(f"the bundle's {name} has a line of more than {limit} bytes")
        if rest:
            raise BundleFormatError(f"the bundle's {name} ends without the end of its last line")

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise BundleFormatError(f"the bundle has no {name}")
        return self.members[name]

    def _end(self) -> tuple[int, int, int]:
        """The directory's number of records, offset and size, which must reach exactly to the end of the file."""
        length = self._file.seek(0, 2)
        raw = self._at(max(0, length - _END.size), _END.size)
        if len(raw) != _END.size or raw[:4] != b"PK\5\6":
            raise BundleFormatError(
                "this is no bundle, or it was cut off: no zip archive ends here without comment"
            )
        _, _, _, _, count, size, offset, _ = _END.unpack(raw)
        tail = _tail(count, offset, size)
        if count == _MANY or _FAR in (size, offset):
            count, size, offset = self._end64(length)
            tail = _tail(count, offset, size)
        if count > MAX_MEMBERS:
            raise BundleFormatError(f"the bundle says that it has {count} files; at most {MAX_MEMBERS} are read")
        if offset + size + len(tail) != length:
            raise BundleFormatError(f"the bundle's directory does not fit its length of {length} bytes: it was cut "
                                    "off, or something was added before or after it")  # fmt: skip
        if self._at(offset + size, len(tail)) != tail:
            raise BundleFormatError("the bundle's end records are not of the one form that a bundle has")
        return count, offset, size

    def _end64(self, length: int) -> tuple[int, int, int]:
        raw = self._at(max(0, length - _END.size - _LOCATOR64.size - _END64.size), _END64.size)
        if len(raw) != _END64.size or raw[:4] != b"PK\6\6":
            raise BundleFormatError("the bundle's end records point to ZIP64 records that are not there")
        _, _, _, _, _, _, _, count, size, offset = _END64.unpack(raw)
        return count, size, offset

    def _central(self, count: int, offset: int, size: int) -> Iterator[Member]:
        position, stop = offset, offset + size
        window = _Window(self._at, stop)
        for number in range(count):
            head = window.at(position, _CENTRAL.size)
            if len(head) != _CENTRAL.size or head[:4] != b"PK\1\2":
                raise BundleFormatError(f"the bundle's directory ends in record {number} of {count}")
            fields = _CENTRAL.unpack(head)
            names, extras = fields[10], fields[11]
            if names > _NAME_BYTES or extras > 12:
                raise BundleFormatError(f"record {number} of the bundle's directory has a {names}-byte name "
                                        f"and extra fields of {extras}; a bundle has neither")  # fmt: skip
            raw = window.at(position, _CENTRAL.size + names + extras)
            yield self._parse(raw, fields)
            position += len(raw)
        if position != stop:
            raise BundleFormatError(f"the bundle's directory has {stop - position} bytes after its last record")

    def _parse(self, raw: bytes, fields: tuple[int, ...]) -> Member:
        """One record of the directory. Raises BundleFormatError, saying what is not as it must be."""
        _, _, _, flags, method, _, _, crc, packed, size, names, _, _, _, _, mode, offset = fields
        name = raw[_CENTRAL.size : _CENTRAL.size + names].decode("ascii", "backslashreplace")
        extra = raw[_CENTRAL.size + names :]
        if offset == _FAR and len(extra) == 12:
            offset = struct.unpack("<Q", extra[4:])[0]
        member = Member(name, crc, size, offset)
        if not self._names.fullmatch(name):
            raise BundleFormatError(f"the bundle has a file called {name!r}, which is no name of a bundle's file")
        if method or packed != size:
            raise BundleFormatError(f"the bundle's {name} is compressed (method {method}, {packed} bytes); "
                                    "a bundle's files are stored as they are")  # fmt: skip
        if flags:
            what = "encrypted" if flags & 1 else "written with a data descriptor" if flags & 8 else "flagged"
            raise BundleFormatError(f"the bundle's {name} is {what} (flags {flags:#06x}); in a bundle nothing is")
        if mode >> 28 != _MODE >> 28:
            raise BundleFormatError(f"the bundle's {name} is no regular file (mode {mode >> 16:o})")
        if member.central() != raw:
            raise BundleFormatError(f"the bundle's directory describes {name} in another form than a bundle has")
        return member

    def _check_local(self, member: Member, position: int) -> None:
        if member.offset != position:
            raise BundleFormatError(f"the bundle's {member.name} begins at byte {member.offset}, not {position}: "
                                    "files overlap, or leave gaps")  # fmt: skip
        header = member.local()
        if self._at(position, len(header)) != header:
            raise BundleFormatError(f"the bundle's {member.name} is described in two ways, before its bytes and in "
                                    "the directory")  # fmt: skip

    @property
    def may_be_shared(self) -> bool:
        """Whether forked processes can read it too: none moves the place where another reads."""
        return self._descriptor is not None

    def _at(self, offset: int, size: int) -> bytes:
        # Past any buffer, which would be refilled for every header.
        if self._descriptor is not None:
            return os.pread(self._descriptor, size, offset)
        self._file.seek(offset)
        return self._file.read(size)


def _expect_crc(member: Member, got: int) -> None:
    if got != member.crc:
        raise BundleFormatError(
            f"the bundle's {member.name} is damaged: its CRC-32 is {got:08x}, not {member.crc:08x}"
        )


def _descriptor(file: BinaryIO) -> int | None:
    """That of a file on disk; None for one in memory, and where the system cannot read at a place."""
    if not hasattr(os, "pread"):
        return None
    try:
        return file.fileno()
    except OSError:
        return None
