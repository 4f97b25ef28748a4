"""Makes draw.json: samples by the text of docs/formats.md, written down once more without looking at the code.

python tests/prover_worker/testdata/draw.py > tests/prover_worker/vectors/draw.json
"""

import hashlib
import json
from pathlib import Path


def draw(seed, secret, chunks, size):
    key = hashlib.sha256(b"unlearning-ledger/draw/v1" + b"\0" + seed + secret).digest()
    counter, order = 0, sorted(chunks)
    for place in range(size):
        left = len(order) - place
        while True:
            word = int(hashlib.sha256(key + counter.to_bytes(8, "big")).hexdigest(), 16)
            counter += 1
            if word < 2**256 // left * left:
                break
        other = place + word % left
        order[place], order[other] = order[other], order[place]
    return sorted(order[:size])


def main():
    cases = []
    for number, (chunks, size) in enumerate(
        [([4], 1), (range(2), 1), (range(8), 3), (range(0, 40, 3), 5), (range(300), 20), (range(7), 7)]
    ):
        seed, secret = (hashlib.sha256(what + bytes([number])).digest() for what in (b"seed", b"secret"))
        case = {"seed": seed.hex(), "secret": secret.hex(), "chunks": list(chunks), "size": size}
        cases.append(case | {"drawn": draw(seed, secret, chunks, size)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
