"""Sample indexes: which samples a data set has, so that requests can name them and be previewed cheaply.

A file has one line per training sample, in the training set's own order: line n is position n - 1. CSV has the
columns `id`, `class` (may be empty) and any others; JSON lines have members of the same names, the others being
text, numbers that are whole, or true and false. Nothing in it may be personal: it is looked up, not sealed.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import connection
from psycopg.types.json import Jsonb

from ledger.models import DatasetIndex, IndexedSample
from ledger.statements import canonical
from ledger.statements.errors import StatementError
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.step import exclusive

MAX_FIELDS: Final = 50
_COPY: Final = "COPY ledger_indexedsample (index_id, position, sample, label, fields) FROM STDIN (FORMAT BINARY)"
_TYPES: Final = ["uuid", "int4", "varchar", "int4", "jsonb"]


@dataclass(frozen=True)
class Sample:
    """One line of an index."""

    name: str
    label: int | None
    fields: dict[str, Any]


def current_index(dataset: str) -> DatasetIndex | None:
    """The index that counts for a data set now."""
    return DatasetIndex.objects.filter(name=dataset, current=True).first()


def register_file(name: str, path: Path, *, actor: Actor = SYSTEM) -> DatasetIndex:
    """Register the index in a `.csv` or `.jsonl` file. Raises WorkflowError (422) naming the first bad line."""
    readers = {".csv": _from_csv, ".jsonl": _from_jsonl}
    if path.suffix not in readers:
        raise WorkflowError("bad-index", f"an index is a .csv or .jsonl file, got {path.name}", 422)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkflowError("bad-index", f"{path} cannot be read as UTF-8 text: {error}", 422) from error
    return register_dataset(name, readers[path.suffix](text), actor=actor)


@exclusive
def register_dataset(name: str, samples: Iterable[Sample], *, actor: Actor = SYSTEM) -> DatasetIndex:
    """Make `samples`, in order, the data set's index; the same again changes nothing.

    An earlier index stays, for approvals that were made by it. Raises WorkflowError (422).
    """
    if not 0 < len(name) <= 200:
        raise WorkflowError("bad-index", f"a data set's name has 1 to 200 characters, got {len(name)}", 422)
    listed = list(samples)
    digest = _digest(listed)
    known = current_index(name)
    if known is not None and known.digest == digest:
        return known
    DatasetIndex.objects.filter(name=name, current=True).update(current=False)
    fields = sorted({field for sample in listed for field in sample.fields})
    if len(fields) > MAX_FIELDS:
        raise WorkflowError("bad-index", f"an index has at most {MAX_FIELDS} fields, got {len(fields)}", 422)
    index = DatasetIndex.objects.create(name=name, digest=digest, samples=len(listed), fields=fields)
    _insert(index, listed)
    record("dataset.indexed", actor=actor, data={"dataset": name, "digest": digest, "samples": len(listed)})
    return index


def _digest(samples: list[Sample]) -> str:
    """Check names, and hash one canonical line per sample."""
    if not samples:
        raise WorkflowError("bad-index", "an index has at least one sample, got none", 422)
    seen: dict[str, int] = {}
    digest = hashlib.sha256()
    for position, sample in enumerate(samples):
        first = seen.setdefault(sample.name, position)
        if first != position:
            raise WorkflowError(
                "bad-index", f"sample {position + 1} has the id of sample {first + 1}: ids are used once", 422
            )
        digest.update(canonical.dumps([position, sample.name, sample.label, sample.fields]) + b"\n")
    return digest.hexdigest()


def _insert(index: DatasetIndex, samples: list[Sample]) -> None:
    assert IndexedSample._meta.db_table == "ledger_indexedsample"  # noqa: SLF001 - Django's public name
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for position, sample in enumerate(samples):
            copy.write_row((index.pk, position, sample.name, sample.label, Jsonb(sample.fields)))


def _from_csv(text: str) -> Iterator[Sample]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or []
        if "id" not in columns or len(set(columns)) != len(columns):
            raise WorkflowError(
                "bad-index",
                f"line 1: got the columns {', '.join(columns)[:200]}; expected id, and none twice",
                422,
            )
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                raise WorkflowError("bad-index", f"line {line}: expected {len(columns)} columns", 422)
            name, label = row.pop("id"), row.pop("class", "")
            yield _sample(line, name, int(label) if label.isascii() and label.isdigit() else label or None, row)
    except csv.Error as error:
        raise WorkflowError("bad-index", f"line {reader.line_num}: {error}", 422) from error


def _from_jsonl(text: str) -> Iterator[Sample]:
    for line, data in enumerate(text.splitlines(), 1):
        try:
            row = canonical.loads(data.encode(), f"line {line}")
        except StatementError as error:
            raise WorkflowError("bad-index", str(error), 422) from error
        if not isinstance(row, dict) or "id" not in row:
            raise WorkflowError("bad-index", f"line {line}: expected an object with the member id", 422)
        name, label = row.pop("id"), row.pop("class", None)
        yield _sample(line, str(name) if type(name) is int else name, label, row)


def _sample(line: int, name: Any, label: Any, fields: dict[str, Any]) -> Sample:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise WorkflowError(
            "bad-index", f"line {line}: an id has 1 to 200 printable characters, got {name!r:.80}", 422
        )
    if label is not None and (type(label) is not int or not 0 <= label < 2**31):
        raise WorkflowError("bad-index", f"line {line}: a class is a number from 0, got {label!r:.80}", 422)
    for field, value in fields.items():
        text = f"{field}{value}"
        if not isinstance(value, str | int) or not 0 < len(field) <= 100 or "\0" in text:
            raise WorkflowError(
                "bad-index",
                f"line {line}: field {field!r:.80} is text, a whole number, true or false; got {value!r:.80}",
                422,
            )
    return Sample(name, label, fields)
