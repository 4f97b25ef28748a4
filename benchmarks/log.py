"""`make bench B=log`: the log's storage beside plain INSERTs and beside pymerkle, on a log of a million entries.

Everything runs on an embedded PostgreSQL of its own with fsync on, in a temporary folder (some 4 GB).

- *Build*: eight processes sign statements and append them, 1,000 in a call, until the log has `--entries`.
- *Appends*: eight processes append `--batch` statements in a call; a call returns when they are on disk. In turns
  with it, as many processes put the same rows, made in advance, into tables with the same indexes by plain
  multi-row INSERTs in batches of the same size: entries and tree nodes, one commit for each batch.
- *One by one*: eight threads append single statements, each in a transaction of its own, as clients' come.
- *Inclusion*: proofs of random entries, read from the database, each verified.
- *pymerkle 7.0*: its SqliteTree on the same disk with the same leaves: batches of the same size by one writer (it
  has no more), proofs with its cache warm, verification.
- *fsck*: the whole log rebuilt from its leaves, every signature checked, in as many processes as there are cores.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import serving

WRITERS = 8
BUILD_BATCH = 1_000
PROOFS = 3_000
ROUNDS = 3
ROWS_PER_ROUND = 24_000
SINGLES = 6_000

Statements = list[tuple[Any, str]]
Rows = list[tuple[Any, ...]]


def main() -> None:
    """Set up a ledger of its own, measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of the log's storage.")
    parser.add_argument("--entries", type=int, default=1_000_000, help="size of the log (default one million)")
    parser.add_argument("--batch", type=int, default=128, help="statements in one call (default 128)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-log-") as name:
        folder = Path(name)
        start_ledger(folder)
        try:
            report(measure(options.entries, options.batch, folder))
        finally:
            serving.stop(folder)


def start_ledger(folder: Path) -> None:
    """A migrated database with really durable commits, and keys."""
    serving.open_ledger(folder)
    from django.db import connection

    from ledger import keys

    keys.create_missing()
    with connection.cursor() as cursor:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == ("on",), f"{setting} must be on: this benchmark is about durable appends"


def measure(entries: int, batch: int, folder: Path) -> dict[str, Any]:
    """All figures by name."""
    figures: dict[str, Any] = {"entries": entries, "batch": batch}
    say(f"building a log of {entries:,} entries")
    began = time.perf_counter()
    in_processes(build, entries // WRITERS, BUILD_BATCH)
    build(entries - size(), BUILD_BATCH)
    figures["build_per_second"] = entries / (time.perf_counter() - began)
    figures |= inclusion(entries)
    figures |= peer(folder / "pymerkle.sqlite", entries, batch)
    figures["prove_ratio_vs_pymerkle"] = figures["pymerkle_prove_ms"] / figures["inclusion_mean_ms"]
    figures["verify_ratio_vs_pymerkle"] = figures["pymerkle_verify_ms"] / figures["verify_ms"]
    figures["fsck_entries_per_second"] = fsck()
    say("appending, in turns with plain INSERTs")
    ours, plain = [], []
    for _ in range(ROUNDS):
        create_plain_tables()
        plain.append(rate(plain_rows, plain_inserts, batch))
        ours.append(rate(list, append, batch))
    figures["appends_per_second"] = statistics.median(ours)
    figures["plain_inserts_per_second"] = statistics.median(plain)
    figures["ratio_vs_plain_insert"] = statistics.median(ours) / statistics.median(plain)
    figures["append_ratio_vs_pymerkle"] = statistics.median(ours) / figures["pymerkle_appends_per_second"]
    alone = figures["single_appends_per_second"] = singles()
    figures["single_append_ratio_vs_pymerkle"] = alone / figures["pymerkle_single_appends_per_second"]
    return figures


def size() -> int:
    """Number of entries in the log."""
    from ledger import log

    return log.size()


def envelopes(count: int) -> Statements:
    """Signed enrolments, each with its signer: they refer to nothing. Every key is new, as fsck asks."""
    from ledger.statements import keys, predicates
    from ledger.statements.statement import sign_statement

    made = []
    for _ in range(count):
        key = keys.generate()
        said = predicates.ClientEnrolment(client=str(uuid.uuid4()), public_key=keys.public_hex(key))
        made.append((sign_statement(said, key), keys.keyid(key)))
    return made


def chunks(count: int, batch: int) -> Iterator[int]:
    """Sizes of batches that make `count`."""
    while count > 0:
        yield min(batch, count)
        count -= batch


def build(count: int, batch: int) -> None:
    """Sign and append `count` statements."""
    for width in chunks(count, batch):
        append(envelopes(width))


def in_processes(work: Callable[..., None], *arguments: object) -> None:
    """Run `work` in eight processes with connections of their own."""
    from django.db import connection

    connection.close()
    processes = [multiprocessing.Process(target=work, args=arguments) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a writer failed"


def rate(prepare: Callable[[Statements], Any], write: Callable[[Any], None], batch: int) -> float:
    """Rows per second of eight processes that `write` what `prepare` made of `batch` statements."""
    count = ROWS_PER_ROUND // WRITERS
    ready, times = multiprocessing.Barrier(WRITERS), multiprocessing.Queue()
    in_processes(timed, prepare, write, list(chunks(count, batch)), ready, times)
    spans = [times.get() for _ in range(WRITERS)]
    return WRITERS * count / (max(end for _, end in spans) - min(start for start, _ in spans))


def timed(
    prepare: Callable[[Statements], Any], write: Callable[[Any], None], widths: list[int], ready: Any, times: Any
) -> None:
    """One writer: prepare everything, wait for the others, write."""
    prepared = [prepare(envelopes(width)) for width in widths]
    ready.wait()
    start = time.time()
    for batch in prepared:
        write(batch)
    times.put((start, time.time()))


def append(batch: Statements) -> None:
    """Ours, as the use cases do it: leaves first, then the lock, one look-up, two COPYs and a commit."""
    from django.db import transaction

    from ledger import log

    leaves = [log.Leaf.of(*statement) for statement in batch]
    with transaction.atomic(durable=True):
        log.lock()
        log.write(leaves)


def create_plain_tables() -> None:
    """Empty tables with the columns and indexes of the log's, without its triggers."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS plain_entry, plain_node; DROP SEQUENCE IF EXISTS plain_index")
        cursor.execute("CREATE TABLE plain_entry (LIKE ledger_logentry INCLUDING ALL)")
        cursor.execute("CREATE TABLE plain_node (LIKE ledger_lognode INCLUDING ALL)")
        cursor.execute("CREATE SEQUENCE plain_index MINVALUE 0 INCREMENT 1024")


def plain_rows(batch: Statements) -> tuple[Rows, Rows]:
    """Rows of entries and nodes as the log has them; each batch is a small tree at a place of its own."""
    from django.db import connection
    from django.utils import timezone

    from ledger.log import Leaf
    from ledger.tlog import merkle

    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('plain_index')")
        (first,) = cursor.fetchone()
    entries, nodes, tree, now = [], [], merkle.MemoryTree(), timezone.now()
    for index, leaf in enumerate((Leaf.of(*statement) for statement in batch), first):
        row = (leaf.leaf_hash, leaf.data, leaf.predicate_type, leaf.statement_sha256, leaf.signer, now)
        entries.append((index, *row))
        tree.append(leaf.data)
    for level in range(len(batch).bit_length()):
        hashes = tree.read([(level, at) for at in range(len(batch) >> level)])
        nodes += [(level, (first >> level) + at, value) for at, value in enumerate(hashes)]
    return entries, nodes


def plain_inserts(batch: tuple[Rows, Rows]) -> None:
    """Two multi-row INSERTs and a commit: no order, no lock, no look-up, no hashing."""
    from django.db import connection, transaction

    entries, nodes = batch
    with transaction.atomic(), connection.cursor() as cursor:
        insert(
            cursor,
            "plain_entry",
            '"index", leaf_hash, envelope, predicate_type, statement_sha256, signer, created_at',
            entries,
        )
        insert(cursor, "plain_node", 'level, "index", hash', nodes)


def insert(cursor: Any, table: str, columns: str, rows: Rows) -> None:
    """One multi-row INSERT."""
    places = ",".join([f"({','.join(['%s'] * len(rows[0]))})"] * len(rows))
    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES {places}", [value for row in rows for value in row])


def singles() -> float:
    """Appends per second of eight threads with one statement in each call."""
    from django.db import connection

    def run(statements: Statements) -> None:
        for statement in statements:
            append([statement])
        connection.close()

    shares = [envelopes(SINGLES // WRITERS) for _ in range(WRITERS)]
    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return SINGLES / (time.perf_counter() - began)


def inclusion(entries: int) -> dict[str, float]:
    """Milliseconds of a proof, read from the database, and of its verification."""
    say(f"proving {PROOFS:,} random entries")
    from ledger import log
    from ledger.models import LogEntry
    from ledger.tlog import merkle

    head = log.publish_checkpoint()
    assert head.size == entries
    chosen = random.Random(1).sample(range(entries), min(PROOFS, entries))
    prove, check = [], []
    for index in chosen:
        leaf = bytes(LogEntry.objects.values_list("leaf_hash", flat=True).get(index=index))
        began = time.perf_counter()
        proof = log.inclusion(index, entries)
        proved = time.perf_counter()
        merkle.verify_inclusion(leaf, index, entries, proof, bytes(head.root))
        prove.append(1000 * (proved - began))
        check.append(1000 * (time.perf_counter() - proved))
    return {
        "inclusion_p99_ms": serving.p99(prove),
        "inclusion_mean_ms": statistics.mean(prove),
        "verify_ms": statistics.mean(check),
    }


def peer(path: Path, entries: int, batch: int) -> dict[str, float]:
    """The same leaves in pymerkle."""
    say("the same leaves in pymerkle")
    from pymerkle import SqliteTree, verify_inclusion

    from ledger.models import LogEntry

    with SqliteTree(str(path)) as tree:
        rows = LogEntry.objects.order_by("index").values_list("envelope", flat=True)
        tree.append_entries((bytes(row) for row in rows.iterator(chunk_size=5_000)), chunksize=5_000)
        root = tree.get_root()
        chosen = [index + 1 for index in random.Random(1).sample(range(entries), min(PROOFS, entries))]
        tree.prove_inclusion(chosen[0])  # fills its cache with the whole tree
        began = time.perf_counter()
        proofs = [tree.prove_inclusion(index) for index in chosen]
        prove = (time.perf_counter() - began) / len(chosen)
        leaves = [tree.get_leaf(index) for index in chosen]
        began = time.perf_counter()
        for leaf, proof in zip(leaves, proofs, strict=True):
            verify_inclusion(leaf, root, proof)
        check = (time.perf_counter() - began) / len(chosen)
        single = [envelope.to_bytes() for envelope, _ in envelopes(SINGLES // 4)]
        began = time.perf_counter()
        for data in single:
            tree.append_entry(data)
        singles = len(single) / (time.perf_counter() - began)
        more = [envelope.to_bytes() for envelope, _ in envelopes(min(ROWS_PER_ROUND, 12_000))]
        began = time.perf_counter()
        for at in range(0, len(more), batch):
            tree.append_entries(more[at : at + batch])
        appends = len(more) / (time.perf_counter() - began)
    path.unlink()
    return {
        "pymerkle_appends_per_second": appends,
        "pymerkle_single_appends_per_second": singles,
        "pymerkle_prove_ms": 1000 * prove,
        "pymerkle_verify_ms": 1000 * check,
    }


def fsck() -> float:
    """Entries per second of a full rebuild, every signature checked; these entries make no rows in other tables."""
    from ledger.fsck.run import rebuild

    say("fsck")
    found = rebuild(lambda *_: None, jobs=os.cpu_count() or 1, tables=False)
    return found.entries / found.seconds


def say(what: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def report(figures: dict[str, Any]) -> None:
    """The table, and the line for machines."""
    from rich.console import Console
    from rich.table import Table

    found = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    table = Table("", "this log", "plain INSERT", "pymerkle 7.0", title=f"A log of {figures['entries']:,} entries")
    table.add_row(
        f"durable appends/s, {WRITERS} writers, {figures['batch']} a call",
        f"{figures['appends_per_second']:,.0f}",
        f"{figures['plain_inserts_per_second']:,.0f}",
        f"{figures['pymerkle_appends_per_second']:,.0f} (1 writer)",
    )
    table.add_row(
        f"durable appends/s, {WRITERS} threads, 1 a call",
        f"{figures['single_appends_per_second']:,.0f}",
        "",
        f"{figures['pymerkle_single_appends_per_second']:,.0f} (1 writer)",
    )
    table.add_row(
        "inclusion proof, mean ms",
        f"{figures['inclusion_mean_ms']:.3f}",
        "",
        f"{figures['pymerkle_prove_ms']:.3f} (in memory)",
    )
    table.add_row("inclusion proof, 99th percentile ms", f"{figures['inclusion_p99_ms']:.3f}", "", "")
    table.add_row(
        "verification, mean ms", f"{figures['verify_ms']:.4f}", "", f"{figures['pymerkle_verify_ms']:.4f}"
    )
    table.add_row("signed, built and appended/s", f"{figures['build_per_second']:,.0f}", "", "")
    table.add_row("fsck entries/s", f"{figures['fsck_entries_per_second']:,.0f}", "", "")
    Console(width=110).print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
