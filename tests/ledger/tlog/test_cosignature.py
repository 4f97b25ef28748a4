import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import (
    CosignatureSigner,
    CosignatureVerifier,
    Quorum,
    open_cosigned,
    read_cosignatures,
    signed_message,
)
from ledger.tlog.errors import NoteError, QuorumError
from ledger.tlog.note import NoteSigner, NoteVerifier, open_note

REAL = json.loads((Path(__file__).parent / "testdata" / "cosigned.json").read_text())
ORIGIN = "ledger.example/log"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
W1 = CosignatureSigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"1" * 32))
W2 = CosignatureSigner("witness.example/w2", Ed25519PrivateKey.from_private_bytes(b"2" * 32))
HEAD = Checkpoint(ORIGIN, 42, bytes(range(32)))
BODY = HEAD.format().encode()
TIME = 1_700_000_000
NOTE = sign_checkpoint(HEAD, LOG)
COSIGNED = NOTE + W1.line(BODY, TIME) + W2.line(BODY, TIME + 1)


def test_real_witnesses_on_a_real_checkpoint():
    log = NoteVerifier.parse(REAL["log"])
    witnesses = [CosignatureVerifier.parse(vkey) for vkey in REAL["witnesses"]]
    assert [witness.vkey for witness in witnesses] == REAL["witnesses"]
    opened = open_cosigned(REAL["note"], log, log.name, witnesses)
    assert opened.checkpoint.size == 1432088532
    assert opened.times == dict.fromkeys(REAL["witnesses"], REAL["time"])
    with pytest.raises(NoteError, match="not valid"):
        open_cosigned(REAL["note"].replace("AAAABqEiEg", "AAAABqEiEh"), log, log.name, witnesses)


def test_what_is_signed():
    assert signed_message(b"a\nb\n", 12) == b"cosignature/v1\ntime 12\na\nb\n"
    W1.private_key.public_key().verify(
        base64.b64decode(W1.line(BODY, TIME).split(" ")[2])[12:], b"cosignature/v1\ntime 1700000000\n" + BODY
    )


@pytest.mark.parametrize("time", [-1, 2**63])
def test_impossible_times(time):
    with pytest.raises(NoteError, match="time"):
        W1.line(BODY, time)


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.binary(max_size=100))
def test_round_trip(time, body):
    line = W1.line(body, time)
    signature = base64.b64decode(line.split(" ")[2])
    assert (signature[:4], len(signature)) == (W1.verifier.key_id, 76)
    assert W1.verifier.time(body, signature[4:]) == time


def test_witnesses_are_counted_by_key():
    known = [W1.verifier, W2.verifier]
    opened = open_cosigned(COSIGNED, LOG.verifier, ORIGIN, known)
    assert opened.checkpoint == HEAD
    assert opened.times == {W1.vkey: TIME, W2.vkey: TIME + 1}
    opened.expect(2)
    again = open_cosigned(COSIGNED + W1.line(BODY, TIME + 9), LOG.verifier, ORIGIN, known)
    assert again.times == {W1.vkey: TIME + 9, W2.vkey: TIME + 1}
    with pytest.raises(QuorumError, match=r"by 2 trusted.*at least 3"):
        again.expect(3)
    one = open_cosigned(COSIGNED, LOG.verifier, ORIGIN, [W2.verifier])
    with pytest.raises(QuorumError, match=r"by 1 trusted witnesses \(witness\.example/w2\)"):
        one.expect(2)
    open_cosigned(NOTE, LOG.verifier, ORIGIN, known).expect(0)


def test_cosignatures_alone_do_not_make_a_checkpoint():
    """The log's own signature is asked for, whoever else signed."""
    lines = HEAD.format() + "\n" + W1.line(BODY, TIME)
    with pytest.raises(NoteError, match="no known key"):
        open_cosigned(lines, LOG.verifier, ORIGIN, [W1.verifier])


def test_one_key_under_two_names_counts_once():
    twin = CosignatureSigner("other.example", W1.private_key)
    with pytest.raises(NoteError, match="one word counts once"):
        open_cosigned(COSIGNED, LOG.verifier, ORIGIN, [W1.verifier, twin.verifier])
    with pytest.raises(NoteError, match="one word counts once"):
        open_cosigned(COSIGNED, LOG.verifier, ORIGIN, [W1.verifier, W1.verifier])


def test_with_notes():
    """Readers that know no witnesses skip cosignatures; those that know one refuse its bad line."""
    assert open_note(COSIGNED, [LOG.verifier]).verified == (ORIGIN,)
    assert open_note(COSIGNED, [LOG.verifier, W1.verifier]).verified == (ORIGIN, W1.name)
    other = W1.line(BODY.replace(b"42", b"43"), TIME)
    assert open_note(NOTE + other, [LOG.verifier]).verified == (ORIGIN,)
    with pytest.raises(NoteError, match="not valid"):
        open_note(NOTE + other, [LOG.verifier, W1.verifier])
    assert open_cosigned(NOTE + other, LOG.verifier, ORIGIN, [W2.verifier]).times == {}
    with pytest.raises(NoteError, match="not valid"):
        open_cosigned(COSIGNED + other, LOG.verifier, ORIGIN, [W1.verifier])


def test_a_plain_signature_is_no_cosignature():
    """The same key as type 0x01 has another key ID, and its signature another form."""
    plain = NoteSigner(W1.name, W1.private_key)
    assert plain.verifier.key_id != W1.verifier.key_id
    assert open_cosigned(NOTE + plain.line(BODY), LOG.verifier, ORIGIN, [W1.verifier]).times == {}
    with pytest.raises(NoteError, match="64 bytes"):
        W1.verifier.time(BODY, W1.private_key.sign(BODY))


@pytest.mark.parametrize("position", range(len(COSIGNED)))
def test_every_character_counts(position):
    known = [W1.verifier, W2.verifier]
    for other in {"A", "\n", " "} - {COSIGNED[position]}:
        changed = COSIGNED[:position] + other + COSIGNED[position + 1 :]
        with pytest.raises((NoteError, QuorumError)):  # a changed name or key ID makes an unknown witness
            open_cosigned(changed, LOG.verifier, ORIGIN, known).expect(2)
    with pytest.raises((NoteError, QuorumError)):
        open_cosigned(COSIGNED[:position] + COSIGNED[position + 1 :], LOG.verifier, ORIGIN, known).expect(2)


def test_every_byte_of_a_signature_counts():
    signature = base64.b64decode(W1.line(BODY, TIME).split(" ")[2])[4:]
    for position in range(len(signature)):
        changed = bytearray(signature)
        changed[position] ^= 1
        with pytest.raises(NoteError):
            W1.verifier.time(BODY, bytes(changed))
    for length in range(len(signature)):
        with pytest.raises(NoteError, match="bytes"):
            W1.verifier.time(BODY, signature[:length])


def test_answers_of_witnesses():
    line = W1.line(BODY, TIME)
    assert read_cosignatures(line + W2.line(BODY, 5), HEAD.format(), [W1.verifier]) == {W1.vkey: TIME}
    assert read_cosignatures(W2.line(BODY, 5), HEAD.format(), [W1.verifier]) == {}
    for bad in ("", "\n", line[:-1], line + "x", line.replace("—", "-")):
        with pytest.raises(NoteError):
            read_cosignatures(bad, HEAD.format(), [W1.verifier])


@pytest.mark.parametrize(
    ("vkey", "complaint"),
    [
        ("", "looks like name"),
        (REAL["log"], "0x04 and 32 bytes"),
        (W1.vkey[:-4], "0x04 and 32 bytes"),
        (W1.vkey.replace("w1", "w2"), "key ID"),
        (W1.vkey.replace("witness", "wit ness"), "key name"),
        (W1.vkey + "\n", "base64"),
    ],
)
def test_strict_vkeys(vkey, complaint):
    with pytest.raises(NoteError, match=complaint):
        CosignatureVerifier.parse(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b"])
def test_names(name):
    with pytest.raises(NoteError, match="key name"):
        CosignatureSigner(name, W1.private_key)


class TestQuorum:
    vkeys = (W1.vkey, W2.vkey)

    def test_all_of_them_by_default(self):
        assert Quorum.parse(self.vkeys).check(COSIGNED) == {W1.vkey: TIME, W2.vkey: TIME + 1}
        assert Quorum.parse(self.vkeys, 1).check(NOTE + W1.line(BODY, TIME)) == {W1.vkey: TIME}
        with pytest.raises(QuorumError, match=r"by 1 trusted.*at least 2"):
            Quorum.parse(self.vkeys).check(NOTE + W1.line(BODY, TIME))
        with pytest.raises(NoteError, match="not valid"):
            Quorum.parse(self.vkeys, 1).check(COSIGNED + W1.line(b"other\n", TIME))

    def test_nobody(self):
        assert Quorum() == Quorum.parse([]) == Quorum.parse([], 0)
        assert Quorum().check(COSIGNED) == {}

    @pytest.mark.parametrize(("count", "needed"), [(0, 1), (1, 0), (2, 3), (2, -1)])
    def test_what_cannot_be_had(self, count, needed):
        with pytest.raises(QuorumError, match="cannot be had"):
            Quorum.parse(self.vkeys[:count], needed)
