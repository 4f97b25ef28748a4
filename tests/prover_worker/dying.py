"""Backends that end or stop the process that verifies with them. Apart from tests, so that processes start fast."""

import os
import signal

from prover_worker.proof_points import first_points


class Believing:
    """Reads a proof's points and believes the rest."""

    def points(self, proof, count):
        return first_points(proof, count)

    def verify(self, kind, files, proof):
        return True


class Killed(Believing):
    def verify(self, kind, files, proof):
        os.kill(os.getpid(), signal.SIGKILL)


class Stopped(Believing):
    def verify(self, kind, files, proof):
        os.kill(os.getpid(), signal.SIGSTOP)
