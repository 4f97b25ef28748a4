"""A worker on one of a client's machines: `python -m prover_worker.work --shared DIR`.

It proves for every agent that was started with `--workers DIR` and the same broker. It takes one chunk after the
other, each in a process of its own, and writes nothing but into the shared folder and its cache of proving keys.
Stop it with Ctrl-C or SIGTERM: what is under way is finished first; a second one, or a kill, leaves that to others.

    python -m prover_worker.work --shared DIR --cancel

takes all work back that is under way there.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from prover_worker.agent_parser import BROKER_VARIABLE
from prover_worker.errors import ProverError
from prover_worker.profiles import PROFILES
from prover_worker.work_folder import Site
from prover_worker.work_proving import work_on

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until a signal comes, or cancel. Status 2: something is wrong, one line on stderr says what."""
    options = parser().parse_args(arguments)
    os.umask(0o077)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        site = Site.open(options.shared)
        if options.cancel:
            print(f"{site.cancel()} proofs were still to be made; agents that wait for them end")
            return 0
        return _serve(site, options)
    except (ProverError, OSError) as error:
        print(f"work: {error}", file=sys.stderr)
        return 2


def _serve(site: Site, options: argparse.Namespace) -> int:
    from prover_worker.work_queue import Messages

    profile = PROFILES[options.profile]
    profile.apply()
    cache = options.cache or site.keys
    worker = f"{socket.gethostname()}, process {os.getpid()}"

    def prove(run: str, item: str) -> None:
        try:
            work_on(site, cache, run, item, worker)
        except (ProverError, OSError) as error:
            logger.warning("%s", error)

    Messages(site, options.broker).serve(prove, options.processes or profile.jobs)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m prover_worker.work", description="Prove for a client's agents on this machine."
    )
    top.add_argument("--shared", type=Path, required=True, help="the folder that the agent's --workers names")
    top.add_argument(
        "--broker",
        default=os.environ.get(BROKER_VARIABLE, ""),
        help=f"your own Redis or RabbitMQ (or ${BROKER_VARIABLE}); default: files in the shared folder",
    )
    top.add_argument("--cache", type=Path, help="folder for proving keys (default: in the shared folder)")
    top.add_argument("--profile", choices=tuple(PROFILES), default="server")
    top.add_argument("--processes", type=int, help="proofs at once (default: the profile's number)")
    top.add_argument("--cancel", action="store_true", help="take all work back, and end")
    return top


if __name__ == "__main__":
    sys.exit(main())
