"""`make bench B=prover`: what proving and verifying costs per weight, at rank 16, everything included.

A claim over some chunks of the edge release with forget directions: random weights of a network's size, factors
and directions, a mask of 20 % inside every chunk. The agent's own functions solve, commit, prove (with the profile
`edge`, a process for each proof) and verify. Counted are all processes' user and system time from the first column
of the first proof to the last proof, range proofs included; keys are made before. Beside it the direct circuit
(direct_circuit.py) is proved, in the same run.

CPU time is what the JSON line says; the wall time beside it depends on who else uses the machine.
"""

# Every process that proves loads this file again, and its memory is measured: nothing heavy may be imported here.

if __name__ == "__main__":
    from benchmarks import proving

    proving.main()
