import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.errors import NoteError
from ledger.tlog.note import NoteSigner, NoteVerifier, OpenedNote, open_note, sign_note

# The example of golang.org/x/mod/sumdb/note, keys and all.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_BODY = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
PETER_NOTE = f"{PETER_BODY}\n— PeterNeumann {PETER_SIGNATURE}\n"

VKEYS = [
    PETER_VKEY,
    "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop",
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
]

PETER = NoteVerifier.parse(PETER_VKEY)
ALICE = NoteSigner("alice.example/log", Ed25519PrivateKey.from_private_bytes(b"a" * 32))
BOB = NoteSigner("bob.example/log", Ed25519PrivateKey.from_private_bytes(b"b" * 32))

BODY = "first line\n\nthird line — with a dash\n"


class TestVectors:
    def test_open(self):
        assert open_note(PETER_NOTE, [PETER]) == OpenedNote(PETER_BODY, ("PeterNeumann",))

    def test_sign(self):
        signer = NoteSigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETER_SEED))
        assert signer.vkey == PETER_VKEY
        assert sign_note(PETER_BODY, [signer]) == PETER_NOTE

    @pytest.mark.parametrize("vkey", VKEYS)
    def test_vkeys(self, vkey):
        assert NoteVerifier.parse(vkey).vkey == vkey


@pytest.mark.parametrize(
    ("vkey", "complaint"),
    [
        ("", "looks like name"),
        ("name+c74f20a3", "looks like name"),
        (PETER_VKEY.replace("Peter", "peter"), "key ID"),
        (PETER_VKEY.replace("c74f20a3", "c74f20a4"), "key ID"),
        (PETER_VKEY.replace("c74f20a3", "C74F20A3"), "key ID"),
        (PETER_VKEY.replace("c74f20a3", ""), "key ID"),
        (PETER_VKEY.removeprefix("PeterNeumann"), "key name"),
        (PETER_VKEY.replace("Neumann", " Neumann"), "key name"),
        (PETER_VKEY.replace("Neumann", "\u2003Neumann"), "key name"),
        (PETER_VKEY[:-1], "base64"),
        (PETER_VKEY[:-4], "0x01 and 32 bytes"),
        (PETER_VKEY + "\n", "base64"),
        (PETER_VKEY + "é", "base64"),
        (PETER_VKEY.replace("+ARpc", "+Ahpc"), "0x01 and 32 bytes"),
        # A witness's cosignature key, type 0x04: another format, another verifier.
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", "0x01 and 32 bytes"),
    ],
)
def test_strict_vkeys(vkey, complaint):
    with pytest.raises(NoteError, match=complaint):
        NoteVerifier.parse(vkey)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]) | st.just("\n")))
def test_round_trip(text):
    body = text + "\n"
    assert open_note(sign_note(body, [ALICE]), [ALICE.verifier]).body == body


@settings(deadline=None)
@given(st.text())
def test_any_text_is_refused_cleanly(text):
    with pytest.raises(NoteError):
        open_note(text, [ALICE.verifier])
    with pytest.raises(NoteError):
        NoteVerifier.parse(text)


@pytest.mark.parametrize("position", range(len(PETER_NOTE)))
def test_every_character_counts(position):
    for other in {"A", "B", "\n", " ", "="} - {PETER_NOTE[position]}:
        with pytest.raises(NoteError):
            open_note(PETER_NOTE[:position] + other + PETER_NOTE[position + 1 :], [PETER])
    with pytest.raises(NoteError):
        open_note(PETER_NOTE[:position] + PETER_NOTE[position + 1 :], [PETER])
    with pytest.raises(NoteError):
        open_note(PETER_NOTE[:position], [PETER])


class TestSeveralKeys:
    note = sign_note(BODY, [ALICE, BOB])

    def test_known_keys_are_named(self):
        assert open_note(self.note, [ALICE.verifier, BOB.verifier]).verified == (ALICE.name, BOB.name)
        assert open_note(self.note, [BOB.verifier, PETER]).verified == (BOB.name,)

    def test_unknown_keys_are_skipped_whatever_they_say(self):
        blob = base64.b64encode(b"\x00\x01\x02\x03garbage").decode()
        assert open_note(self.note + f"— carol.example {blob}\n", [ALICE.verifier]).body == BODY
        # Same name, other key ID: still unknown.
        assert open_note(self.note + f"— {ALICE.name} {blob}\n", [ALICE.verifier]).verified == (ALICE.name,)

    def test_a_bad_signature_by_a_known_key_spoils_the_note(self):
        line = BOB.line(b"something else\n")
        with pytest.raises(NoteError, match=r"bob\.example/log is not valid"):
            open_note(BODY + "\n" + ALICE.line(BODY.encode()) + line, [ALICE.verifier, BOB.verifier])

    def test_a_repeated_signature_counts_once(self):
        line = ALICE.line(BODY.encode())
        assert open_note(BODY + "\n" + line + line, [ALICE.verifier]).verified == (ALICE.name,)

    def test_nobody_known(self):
        for verifiers in ([], [PETER]):
            with pytest.raises(NoteError, match="no known key has signed"):
                open_note(self.note, verifiers)

    def test_same_verifier_twice(self):
        with pytest.raises(NoteError, match="same name and key ID"):
            open_note(self.note, [ALICE.verifier, ALICE.verifier])

    def test_the_last_empty_line_separates(self):
        """A body that looks like a signed note is still a body."""
        nested = sign_note(self.note, [BOB])
        assert open_note(nested, [BOB.verifier]).body == self.note
        with pytest.raises(NoteError):
            open_note(nested, [ALICE.verifier])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty line"),
        ("body\n", "empty line"),
        ("body\n\n", "end"),
        ("body\n\n— alice\n", "signature line"),
        ("body\n\n- alice AAAAAAAA\n", "signature line"),
        ("body\n\n— alice AAAAAAAA", "newline"),
        ("body\n\n—  AAAAAAAA\n", "key name"),
        ("body\n\n— al+ice AAAAAAAA\n", "key name"),
        ("body\n\n— alice AAAA\n", "4 and a signature"),
        ("body\n\n— alice AAAAAA\n", "base64"),
        ("body\n\n— alice AAAAAAB=\n", "canonical"),
        ("body\n\n— alice AAAA AAAA\n", "base64"),
        ("body\n\n— alice AAAA-_AA\n", "base64"),
        ("body\r\n\n— alice AAAAAAAA\n", "U\\+000D"),
        ("bo\x00dy\n\n— alice AAAAAAAA\n", "U\\+0000"),
        ("bo\ud800dy\n\n— alice AAAAAAAA\n", "surrogate"),
        ("body\n\n" + "— alice AAAAAAAA\n" * 101, "at most 100"),
        ("x" * 1_000_000 + "\n\n— alice AAAAAAAA\n", "at most 1000000"),
    ],
)
def test_strict_notes(text, complaint):
    with pytest.raises(NoteError, match=complaint):
        open_note(text, [ALICE.verifier])


@pytest.mark.parametrize(
    ("body", "signers", "complaint"),
    [
        ("no newline", [ALICE], "ends with a newline"),
        ("", [ALICE], "ends with a newline"),
        ("tab\there\n", [ALICE], "U\\+0009"),
        ("body\n", [], "at least one"),
        ("body\n", [ALICE, ALICE], "twice"),
    ],
)
def test_what_cannot_be_signed(body, signers, complaint):
    with pytest.raises(NoteError, match=complaint):
        sign_note(body, signers)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x01b"])
def test_key_names(name):
    with pytest.raises(NoteError, match="key name"):
        NoteSigner(name, ALICE.private_key)
