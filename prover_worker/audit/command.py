"""`unlearning-verify`: the offline verifier's command line. See the package for what it checks."""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from rich.console import Console

from ledger.bundle.errors import BundleFormatError
from ledger.statements import predicates as kinds
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import TlogError
from prover_worker.audit.cases import Cases, check_masks
from prover_worker.audit.challenges import check_challenges
from prover_worker.audit.files import Files
from prover_worker.audit.helpers import helpers
from prover_worker.audit.opening import Audit, Trust, open_bundle, without_collections
from prover_worker.audit.proofs import Choice, Say, check_proofs
from prover_worker.audit.report import Report
from prover_worker.errors import AuditError, AuditUnavailable

HOLDS: Final = 0
DOES_NOT_HOLD: Final = 1
UNREADABLE: Final = 2
UNAVAILABLE: Final = 3


def verify(
    file: BinaryIO, trust: Trust, choice: Choice, report: Report, say: Say = lambda _text: None, jobs: int = 1
) -> None:
    """All steps; what came of them stands in `report`.

    Raises AuditError or BundleFormatError at the first thing that does not hold, AuditUnavailable.
    """
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        with without_collections():
            with helpers(jobs) as processes:
                files = Files(processes)
                audit = open_bundle(file, trust, report, processes, files.begin)
                challenges = check_challenges(audit)
                files.finish(audit)
            cases = Cases(audit, challenges, Path(folder))
            check_masks(cases)
            gc.freeze()  # nothing of this goes away: later collections need not look at it
        try:
            check_proofs(cases, choice, say, jobs)
        finally:
            gc.unfreeze()
    _check_erasure(audit)
    _warn(audit)


def _check_erasure(audit: Audit) -> None:
    """Step 13. What a tombstone may follow is a rule of step 7; here it is said what it means."""
    requests = sum(1 for _ in audit.of(kinds.DeletionRequest))
    erased = sum(1 for _ in audit.of(kinds.Tombstone))
    if not erased:
        audit.report.say("erasure", f"none of {requests} requests was erased", "nothing to check")
    else:
        audit.report.say(
            "erasure", f"{erased} of {requests} requests were erased: who asked cannot be told any more, which is "
            "right, and everything about them verifies without",
        )  # fmt: skip
    audit.report.figures |= {"requests": requests, "erasedRequests": erased}


def _warn(audit: Audit) -> None:
    """What no bundle can show, and what this one does not."""
    provenance = sorted({release.srs.provenance for _, release in audit.of(kinds.CircuitRelease)})
    audit.report.figures["srs"] = provenance
    if "development" in provenance:
        audit.report.unchecked.append(
            "the SRS. It is a development one: whoever made it could have forged these proofs"
        )
    audit.report.unchecked += [
        "that nothing was left out of the bundle; who reads the whole log sees that",
        "whether the models behave as if they had never seen the data: proofs are about the procedure",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one bundle and return the exit status."""
    options = parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    report, start = Report(), time.monotonic()
    try:
        trust = Trust(
            options.log_vkey, options.provider_key, Quorum.parse(options.witness, options.quorum),
            [path.read_text() for path in options.checkpoint],
        )  # fmt: skip
    except (TlogError, OSError, UnicodeDecodeError) as error:
        console.print(f"unlearning-verify: {error}", markup=False)
        return UNREADABLE
    status = _run(options, trust, report, console)
    report.figures |= {"seconds": round(time.monotonic() - start, 3), "exitStatus": status}
    if status != UNAVAILABLE and report.states["bundle"] != "not reached":
        report.show(console)
    if options.json:
        print(json.dumps(report.document()))
    return status


def _run(options: argparse.Namespace, trust: Trust, report: Report, console: Console) -> int:
    def say(text: str) -> None:
        console.print(f"  {text}", style="dim", markup=False)

    try:
        with options.bundle.open("rb") as file:
            verify(file, trust, options.proofs, report, say, options.jobs)
    except BundleFormatError:
        return UNREADABLE
    except AuditError:
        return DOES_NOT_HOLD
    except AuditUnavailable as error:
        report.failed, report.reason = "proofs", str(error)
        console.print(f"cannot be checked here: {error}", markup=False)
        return UNAVAILABLE
    except OSError as error:
        report.fail("bundle", f"{options.bundle} cannot be read: {error.strerror}")
        return UNREADABLE
    return HOLDS


def parser() -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(
        prog="unlearning-verify", description="Check an audit bundle offline.",
        epilog="Exit status: 0 what was checked holds; 1 something does not; 2 no bundle, or a wrong command line; "
        "3 what was asked for cannot be checked here.",
    )  # fmt: skip
    top.add_argument("bundle", type=Path)
    top.add_argument("--log-vkey", metavar="VKEY", help="the log's verifier key, from a source you trust")
    top.add_argument("--provider-key", metavar="HEX", help="the provider's public key, from a source you trust")
    top.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="verifier key of a witness you trust"
    )
    top.add_argument("--quorum", type=int, metavar="N", help="how many of them must have cosigned (default: all)")
    top.add_argument(
        "--checkpoint", action="append", default=[], type=Path, metavar="NOTE",
        help="file of a checkpoint of this log that you have kept",
    )  # fmt: skip
    top.add_argument(
        "--proofs", type=_choice, default=Choice(), metavar="WHICH",
        help="all (default), how many to verify at random, points (what they are about; needs no ezkl), or none",
    )  # fmt: skip
    top.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)"
    )
    top.add_argument("--json", action="store_true", help="print the result as one JSON line on standard output")
    return top


def _choice(text: str) -> Choice:
    try:
        return Choice.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
