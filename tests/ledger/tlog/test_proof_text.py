import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import CosignatureSigner
from ledger.tlog.errors import ProofError, QuorumError, TlogError
from ledger.tlog.note import NoteSigner
from ledger.tlog.proof_text import InclusionText, open_proof

ORIGIN = "ledger.example/log"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
WITNESS = CosignatureSigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
RECORDS = [b"record %d" % number for number in range(11)]
TREE = merkle.MemoryTree(RECORDS)
HEAD = Checkpoint(ORIGIN, len(RECORDS), TREE.root())
NOTE = sign_checkpoint(HEAD, LOG) + WITNESS.line(HEAD.format().encode(), 1_700_000_000)
KNOWN = [WITNESS.verifier]


def proof(index, extra=None):
    return InclusionText(index, tuple(merkle.prove_inclusion(index, HEAD.size, TREE)), NOTE, extra)


TEXT = proof(5, extra=b"version 1").format()


def test_the_format():
    lines = TEXT.split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra dmVyc2lvbiAx", "index 5"]
    assert [len(base64.b64decode(line)) for line in lines[3:7]] == [32] * 4
    assert "\n".join(lines[8:]) == NOTE
    assert InclusionText.parse(TEXT) == proof(5, extra=b"version 1")


def test_every_leaf_is_proved():
    for index, record in enumerate(RECORDS):
        text = proof(index).format()
        opened = open_proof(text, merkle.leaf_hash(record), LOG.verifier, ORIGIN, KNOWN)
        assert opened.checkpoint == HEAD
        opened.expect(1)
        with pytest.raises(ProofError, match="not proved"):
            open_proof(text, merkle.leaf_hash(b"another"), LOG.verifier, ORIGIN)
    with pytest.raises(QuorumError):
        open_proof(proof(0).format(), merkle.leaf_hash(RECORDS[0]), LOG.verifier, ORIGIN).expect(1)


def test_a_tree_of_one_leaf_needs_no_hashes():
    head = Checkpoint(ORIGIN, 1, TREE.root(1))
    text = InclusionText(0, (), sign_checkpoint(head, LOG)).format()
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 0\n\nledger.example/log\n1\n")
    assert open_proof(text, merkle.leaf_hash(RECORDS[0]), LOG.verifier, ORIGIN).checkpoint == head


@settings(deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.none() | st.binary(min_size=1, max_size=200),
    st.text(),
)
def test_round_trip(index, hashes, extra, note):
    made = InclusionText(index, tuple(hashes), note, extra)
    assert InclusionText.parse(made.format()) == made


@settings(deadline=None)
@given(st.text())
def test_any_text_is_refused_cleanly(text):
    with pytest.raises(TlogError):
        open_proof(text, bytes(32), LOG.verifier, ORIGIN)


def test_every_character_counts():
    leaf = merkle.leaf_hash(RECORDS[5])
    # What the format leaves out of the proof on purpose: the extra data's value.
    free = range(TEXT.index("dmVy"), TEXT.index("\nindex"))
    for position in range(len(TEXT)):
        for other in {"A", "\n", " "} - {TEXT[position]}:
            if position in free and other == "A":
                continue
            changed = TEXT[:position] + other + TEXT[position + 1 :]
            with pytest.raises(TlogError):
                open_proof(changed, leaf, LOG.verifier, ORIGIN, KNOWN).expect(1)
        shorter = TEXT[:position] + TEXT[position + 1 :]
        with pytest.raises(TlogError):
            open_proof(shorter, leaf, LOG.verifier, ORIGIN, KNOWN).expect(1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "begins with"),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\nx", "begins with"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n", "empty line"),
        ("c2sp.org/tlog-proof@v1\n\nx", "index N"),
        ("c2sp.org/tlog-proof@v1\nindex 01\n\nx", "index N"),
        ("c2sp.org/tlog-proof@v1\nindex -1\n\nx", "index N"),
        ("c2sp.org/tlog-proof@v1\nindex ٣\n\nx", "index N"),
        ("c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\nx", "between 0 and"),
        ("c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nx", "extra data has 1"),
        ("c2sp.org/tlog-proof@v1\nextra AB==\nindex 0\n\nx", "canonical"),
        ("c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0\n\nx", "index N"),
        ("c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx", "32 bytes"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n" + ("A" * 43 + "=\n") * 64 + "\nx", "at most 63"),
        ("x" * 2_000_000, "at most"),
    ],
)
def test_strict(text, complaint):
    with pytest.raises(ProofError, match=complaint):
        InclusionText.parse(text)
