"""`python -m prover_worker.audit` is `unlearning-verify`."""

import sys

from prover_worker.audit.command import main

if __name__ == "__main__":
    sys.exit(main())
