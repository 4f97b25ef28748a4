import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.tlog.errors import CheckpointError, NoteError, TlogError
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import NoteSigner, sign_note

ORIGIN = "ledger.example/log"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(ORIGIN, 42, ROOT)
TEXT = sign_checkpoint(CHECKPOINT, SIGNER)
B64 = base64.b64encode(ROOT).decode()

# The example in C2SP's tlog-checkpoint.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_example():
    checkpoint = Checkpoint.parse(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.format() == EXAMPLE


def test_sign_and_open():
    assert open_checkpoint(TEXT, SIGNER.verifier, ORIGIN) == CHECKPOINT
    assert TEXT.startswith(f"{ORIGIN}\n42\n{B64}\n\n— {ORIGIN} ")


line = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1)


@given(line, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(line, max_size=3))
def test_round_trip(origin, size, root, extensions):
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.format()) == checkpoint


@given(st.text())
def test_any_text_is_refused_or_round_trips(text):
    try:
        checkpoint = Checkpoint.parse(text)
    except CheckpointError:
        return
    assert checkpoint.format() == text


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        f"{ORIGIN}\n42\n",
        f"{ORIGIN}\n42\n{B64}",
        f"\n42\n{B64}\n",
        f"{ORIGIN}\n042\n{B64}\n",
        f"{ORIGIN}\n+42\n{B64}\n",
        f"{ORIGIN}\n-42\n{B64}\n",
        f"{ORIGIN}\n4 2\n{B64}\n",
        f"{ORIGIN}\n٤٢\n{B64}\n",
        f"{ORIGIN}\n42 \n{B64}\n",
        f"{ORIGIN}\n\n{B64}\n",
        f"{ORIGIN}\n{2**63}\n{B64}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{B64}\n",
        f"{ORIGIN}\n42\n{B64[:-1]}\n",
        f"{ORIGIN}\n42\n{B64[:-4]}\n",
        f"{ORIGIN}\n42\n{B64[:-2]}B=\n",
        f"{ORIGIN}\n42\n {B64}\n",
        f"{ORIGIN}\n42\n{B64}\n\n",
        f"{ORIGIN}\n42\n{B64}\nextension\n\nanother\n",
        f"{ORIGIN}\n0\n{B64}\n",
    ],
)
def test_strict(body):
    with pytest.raises(CheckpointError):
        Checkpoint.parse(body)


def test_the_empty_log():
    checkpoint = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_checkpoint(sign_checkpoint(checkpoint, SIGNER), SIGNER.verifier, ORIGIN) == checkpoint


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("two\nlines", 1, ROOT, ()),
        (ORIGIN, -1, ROOT, ()),
        (ORIGIN, 2**63, ROOT, ()),
        (ORIGIN, 1, ROOT[:-1], ()),
        (ORIGIN, 0, ROOT, ()),
        (ORIGIN, 1, ROOT, ("",)),
        (ORIGIN, 1, ROOT, ("two\nlines",)),
    ],
)
def test_what_a_checkpoint_cannot_say(origin, size, root, extensions):
    with pytest.raises(CheckpointError):
        Checkpoint(origin, size, root, extensions)


@pytest.mark.parametrize("position", range(len(TEXT)))
def test_every_character_counts(position):
    for other in {"A", "1", "\n"} - {TEXT[position]}:
        with pytest.raises(TlogError):
            open_checkpoint(TEXT[:position] + other + TEXT[position + 1 :], SIGNER.verifier, ORIGIN)


def test_another_log():
    with pytest.raises(CheckpointError, match=r"expected 'other\.example/log'"):
        open_checkpoint(TEXT, SIGNER.verifier, "other.example/log")
    other = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"m" * 32))
    with pytest.raises(NoteError, match="no known key"):
        open_checkpoint(TEXT, other.verifier, ORIGIN)
    with pytest.raises(CheckpointError, match="own name"):
        sign_checkpoint(CHECKPOINT, NoteSigner("other.example/log", SIGNER.private_key))


def test_a_signed_note_that_is_no_checkpoint():
    with pytest.raises(CheckpointError):
        open_checkpoint(sign_note("hello\n", [SIGNER]), SIGNER.verifier, ORIGIN)
