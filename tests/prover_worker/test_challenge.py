import dataclasses
import hashlib

import pytest

from ledger.tlog.checkpoint import Checkpoint
from prover_worker.challenge import derive
from prover_worker.errors import ProverError
from prover_worker.field import R, expand
from tests.prover_worker.story import P

HEAD = Checkpoint("tests/ledger", 9, b"\1" * 32)
LEAF = b"\2" * 32


def test_the_documented_formula():
    seed = hashlib.sha256(
        b"unlearning-ledger/challenge/v1" + bytes([0]) + (12).to_bytes(4, "big") + b"tests/ledger"
        + (9).to_bytes(8, "big") + HEAD.root + (4).to_bytes(8, "big") + LEAF
    ).digest()  # fmt: skip
    drawn = derive(P, HEAD, 4, LEAF)
    assert drawn.rho == expand(seed, b"rho", P.rank)
    assert drawn.sigma == expand(seed, b"sigma", P.block_size)
    assert drawn.alpha == expand(seed, b"alpha", P.blocks)
    assert [drawn.beta, drawn.gamma] == expand(seed, b"beta", 1) + expand(seed, b"gamma", 1)


def test_tau_stands_in_the_order_of_the_weights():
    drawn = derive(P, HEAD, 4, LEAF)
    tau = drawn.tau()
    for b in range(P.blocks):
        for i in range(P.block_size):
            assert tau[b * P.block_size + i] == drawn.alpha[b] * drawn.sigma[i] % R
    assert drawn.coefficients() == [*drawn.rho, *drawn.alpha]


def test_no_two_elements_are_equal():
    drawn = derive(P, HEAD, 4, LEAF)
    elements = [*drawn.coefficients(), *drawn.sigma]
    assert len(set(elements)) == len(elements)


@pytest.mark.parametrize(
    ("head", "index", "leaf"),
    [
        (dataclasses.replace(HEAD, origin="tests/ledgeR"), 4, LEAF),
        (dataclasses.replace(HEAD, origin="tests/ledger2"), 4, LEAF),
        (dataclasses.replace(HEAD, size=10), 4, LEAF),
        (dataclasses.replace(HEAD, root=b"\1" * 31 + b"\0"), 4, LEAF),
        (HEAD, 5, LEAF),
        (HEAD, 4, b"\2" * 31 + b"\3"),
    ],
)
def test_every_input_changes_every_element(head, index, leaf):
    one, other = derive(P, HEAD, 4, LEAF), derive(P, head, index, leaf)
    for name in ("rho", "sigma", "alpha"):
        assert not set(getattr(one, name)) & set(getattr(other, name))
    assert one.beta != other.beta
    assert one.gamma != other.gamma


@pytest.mark.parametrize("index", [-1, 9, 10])
def test_the_checkpoint_must_cover_the_claim(index):
    with pytest.raises(ProverError, match=f"size 9 does not cover the claim at index {index}"):
        derive(P, HEAD, index, LEAF)
    assert derive(P, HEAD, 8, LEAF).rho
