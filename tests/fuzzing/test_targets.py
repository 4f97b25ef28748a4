"""Every fuzzing target without its fuzzer: real documents pass, damaged ones are refused in words."""

from __future__ import annotations

import random

import pytest

from tests.fuzzing.targets import TARGETS, attempt


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_a_refusal(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)
    for seed in target.seeds():
        target.read(seed)
        for _ in range(20):
            data = bytearray(seed)
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] ^= chance.randrange(1, 256)
                case 1:
                    del data[at : at + chance.randrange(1, 50)]
                case _:
                    data[at:at] = data[at : at + chance.randrange(1, 50)]
            attempt(target, bytes(data))
