"""The witness's rules, status by status, on a store in memory and on files; requests and policies as text."""

import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.statements.errors import KeyMaterialError
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import read_cosignatures
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import NoteSigner
from ledger.witness.core import Witness
from ledger.witness.errors import PolicyError, RequestError, StateError, WitnessError
from ledger.witness.policy import Policy
from ledger.witness.protocol import AddCheckpoint
from ledger.witness.store import FileHeads, open_signer
from tests.ledger.witness.parts import NOW, ORIGIN, MemoryHeads, SmallLog, key, signer

LOG = SmallLog(20)
OTHER = SmallLog(20, salt="other ")
W = signer()


@pytest.fixture(params=["memory", "files"])
def heads(request, tmp_path):
    return MemoryHeads() if request.param == "memory" else FileHeads(tmp_path / "witness")


@pytest.fixture
def witness(heads):
    return Witness(W, {ORIGIN: [LOG.signer.verifier]}, heads, lambda: NOW + 0.9)


def cosigned(answer, head):
    assert answer.status == 200, answer
    assert read_cosignatures(answer.body.decode(), head.format(), [W.verifier]) == {W.vkey: NOW}


def test_every_step_up_to_a_small_size():
    for old, new in itertools.combinations_with_replacement(range(10), 2):
        witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, MemoryHeads(), lambda: NOW)
        cosigned(witness.add_checkpoint(LOG.request(0, old)), LOG.head(old))
        cosigned(witness.add_checkpoint(LOG.request(old, new)), LOG.head(new))
        assert witness.latest(ORIGIN) == LOG.head(new)


def test_the_same_again_is_cosigned_again(witness):
    cosigned(witness.add_checkpoint(LOG.request(0, 5)), LOG.head(5))
    cosigned(witness.add_checkpoint(LOG.request(5, 5)), LOG.head(5))


def test_a_wrong_old_size_is_answered_with_the_right_one(witness):
    witness.add_checkpoint(LOG.request(0, 5))
    for old, new in ((0, 7), (4, 7), (6, 7), (0, 5), (3, 4), (4, 4)):  # the last two: a rollback
        answer = witness.add_checkpoint(LOG.request(old, new))
        assert (answer.status, answer.body, answer.content_type) == (409, b"5\n", "text/x.tlog.size")
    assert witness.latest(ORIGIN) == LOG.head(5)
    cosigned(witness.add_checkpoint(LOG.request(5, 7)), LOG.head(7))


def test_a_fork_at_the_same_size_is_refused_and_kept_as_evidence(witness, heads, tmp_path):
    witness.add_checkpoint(LOG.request(0, 5))
    for _ in range(2):
        answer = witness.add_checkpoint(OTHER.request(5, 5))
        assert (answer.status, answer.body) == (409, b"5\n")
    assert witness.latest(ORIGIN) == LOG.head(5)
    if isinstance(heads, MemoryHeads):
        kept = list(heads.evidence.values())
    else:
        kept = [path.read_text() for path in (tmp_path / "witness" / "evidence").iterdir()]
    assert len(kept) == 1
    for log in (LOG, OTHER):
        assert log.note(5) in kept[0].replace(W.line(LOG.head(5).format().encode(), NOW), "")


def test_a_larger_tree_with_another_past_is_refused(witness):
    witness.add_checkpoint(LOG.request(0, 5))
    answer = witness.add_checkpoint(OTHER.request(5, 9))
    assert answer.status == 422
    assert b"consistency proof" in answer.body
    assert witness.latest(ORIGIN) == LOG.head(5)


@pytest.mark.parametrize("old", [0, 5])
def test_a_proof_where_none_is_due(witness, old):
    if old:
        witness.add_checkpoint(LOG.request(0, old))
    size = old or 7
    body = AddCheckpoint(old, (bytes(32),), LOG.note(size)).format()
    assert witness.add_checkpoint(body).status == 422


def test_every_byte_of_a_proof_counts(witness):
    witness.add_checkpoint(LOG.request(0, 5))
    good = AddCheckpoint.parse(LOG.request(5, 13))
    for number in range(len(good.proof)):
        changed = bytearray(good.proof[number])
        changed[7] ^= 1
        proof = (*good.proof[:number], bytes(changed), *good.proof[number + 1 :])
        assert witness.add_checkpoint(AddCheckpoint(5, proof, good.note).format()).status == 422
    assert witness.add_checkpoint(AddCheckpoint(5, good.proof[:-1], good.note).format()).status == 422


def test_who_may_ask(witness):
    stranger = SmallLog(5, signer=NoteSigner("stranger.example", key("s")))
    assert witness.add_checkpoint(stranger.request(0, 5)).status == 404
    impostor = SmallLog(5, signer=NoteSigner(ORIGIN, key("i")))
    assert witness.add_checkpoint(impostor.request(0, 5)).status == 403
    assert witness.add_checkpoint(LOG.request(0, 5).replace(b"\n5\n", b"\n6\n")).status == 403
    assert witness.add_checkpoint(AddCheckpoint(6, (), LOG.note(5)).format()).status == 400
    assert witness.latest(ORIGIN) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


def test_signatures_of_others_are_ignored_and_not_kept(witness, heads):
    other = signer("other.example", "o").line(LOG.head(5).format().encode(), 1)
    cosigned(witness.add_checkpoint(LOG.request(0, 5) + other.encode()), LOG.head(5))
    assert "other.example" not in heads.load(ORIGIN)


def test_extension_lines_are_cosigned_as_they_are(witness):
    head = Checkpoint(ORIGIN, 5, LOG.tree.root(5), ("an extension",))
    note = sign_checkpoint(head, LOG.signer)
    cosigned(witness.add_checkpoint(AddCheckpoint(0, (), note).format()), head)


def test_after_a_rotation_both_keys_count():
    young = NoteSigner(ORIGIN, key("y"))
    witness = Witness(W, {ORIGIN: [LOG.signer.verifier, young.verifier]}, MemoryHeads(), lambda: NOW)
    cosigned(witness.add_checkpoint(LOG.request(0, 5)), LOG.head(5))
    cosigned(witness.add_checkpoint(SmallLog(9, signer=young).request(5, 9)), LOG.head(9))


def test_only_one_of_many_histories_is_ever_cosigned(witness):
    histories = [SmallLog(6, salt=f"{number} ") for number in range(8)]
    answers = {}
    barrier = threading.Barrier(len(histories))

    def ask(number):
        barrier.wait()
        answers[number] = witness.add_checkpoint(histories[number].request(0, 6))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(histories))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number, answer in answers.items() if answer.status == 200]
    assert len(winners) == 1
    assert witness.latest(ORIGIN) == histories[winners[0]].head(6)
    assert {answer.status for answer in answers.values()} == {200, 409}


class FullDisk(MemoryHeads):
    def save(self, origin, note):
        raise OSError("no space left on device")


def test_what_cannot_be_kept_is_not_cosigned():
    heads = FullDisk()
    witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, heads, lambda: NOW)
    with pytest.raises(OSError, match="no space"):
        witness.add_checkpoint(LOG.request(0, 5))
    assert heads.notes == {}


@pytest.mark.parametrize("damage", [b"", b"\xff", b"junk\n", None])
def test_a_damaged_state_is_not_taken_for_an_empty_one(tmp_path, damage):
    heads = FileHeads(tmp_path)
    witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, heads, lambda: NOW)
    witness.add_checkpoint(LOG.request(0, 5))
    (path,) = (tmp_path / "heads").iterdir()
    path.write_bytes(path.read_bytes().replace(b"\n5\n", b"\n4\n") if damage is None else damage)
    with pytest.raises(StateError, match="damaged"):
        witness.add_checkpoint(LOG.request(5, 6))


def test_a_state_of_another_log_is_noticed():
    heads = MemoryHeads()
    witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, heads, lambda: NOW)
    witness.add_checkpoint(LOG.request(0, 5))
    heads.notes["b.example"] = heads.notes[ORIGIN]
    with pytest.raises(StateError, match="is that of"):
        witness.latest("b.example")


def test_files_are_replaced_whole(tmp_path):
    heads = FileHeads(tmp_path)
    heads.save(ORIGIN, "one")
    heads.save(ORIGIN, "two")
    heads.keep_evidence("e", "first")
    heads.keep_evidence("e", "second")
    assert (heads.load(ORIGIN), heads.load("another")) == ("two", None)
    assert (tmp_path / "evidence" / "e").read_text() == "first"
    assert len(list(tmp_path.rglob("*"))) == 4  # two folders with one file each, and nothing left over


class TestKey:
    def test_made_once(self, tmp_path):
        first = open_signer(tmp_path / "w", "witness.example/w1")
        assert open_signer(tmp_path / "w", None).vkey == first.vkey
        assert (tmp_path / "w" / "witness.pem").stat().st_mode & 0o777 == 0o600

    def test_a_name_is_needed_and_stays(self, tmp_path):
        with pytest.raises(StateError, match="--name"):
            open_signer(tmp_path, None)
        open_signer(tmp_path, "a")
        with pytest.raises(StateError, match="for ever"):
            open_signer(tmp_path, "b")

    def test_damage_is_noticed(self, tmp_path):
        open_signer(tmp_path / "a", "a")
        open_signer(tmp_path / "b", "b")
        (tmp_path / "a" / "witness.pem").write_bytes((tmp_path / "b" / "witness.pem").read_bytes())
        with pytest.raises(StateError, match="is not the key"):
            open_signer(tmp_path / "a", None)
        (tmp_path / "b" / "witness.vkey").write_text("junk\n")
        with pytest.raises(StateError, match="damaged"):
            open_signer(tmp_path / "b", None)
        (tmp_path / "a" / "witness.pem").chmod(0o644)
        with pytest.raises(KeyMaterialError, match="0600"):
            open_signer(tmp_path / "a", None)


class TestRequests:
    @settings(deadline=None)
    @given(
        st.integers(0, 2**63 - 1),
        st.lists(st.binary(min_size=32, max_size=32), max_size=63),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    )
    def test_round_trip(self, old, proof, note):
        made = AddCheckpoint(old, tuple(proof), note)
        assert AddCheckpoint.parse(made.format()) == made

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_any_bytes_are_refused_cleanly(self, body):
        witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, MemoryHeads(), lambda: NOW)
        assert witness.add_checkpoint(body).status == 400

    def test_every_character_counts(self):
        body = LOG.request(5, 13)
        for position in range(len(body)):
            heads = MemoryHeads()
            witness = Witness(W, {ORIGIN: [LOG.signer.verifier]}, heads, lambda: NOW)
            witness.add_checkpoint(LOG.request(0, 5))
            for other in {b"A", b"\n", b"7"} - {body[position : position + 1]}:
                changed = body[:position] + other + body[position + 1 :]
                assert witness.add_checkpoint(changed).status in {400, 403, 404, 409, 422}
        assert witness.latest(ORIGIN) == LOG.head(5)

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            (b"", "begins with"),
            (b"old 0\n", "empty line"),
            (b"size 0\n\nx", "begins with"),
            (b"old 00\n\nx", "leading zeros"),
            (b"old 9223372036854775808\n\nx", "below 2"),
            (b"old +1\n\nx", "decimal"),
            (b"old 0\nAAAA\n\nx", "32 bytes"),
            (b"old 0\n!\n\nx", "base64"),
            (b"old 0\n" + b"A" * 43 + b"=\n" * 64 + b"\nx", "base64|at most"),
            (b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\nx", "at most 63"),
            (b"old 0\n\n\xff", "UTF-8"),
            (b"old 0\n\n" + b"x" * 70_000, "at most 65536"),
        ],
    )
    def test_strict(self, body, complaint):
        with pytest.raises(RequestError, match=complaint):
            AddCheckpoint.parse(body)


class TestPolicy:
    one, two, three = (signer(f"w{n}", str(n)).vkey for n in (1, 2, 3))

    def test_nobody(self):
        assert Policy.parse("") == Policy() == Policy.parse(" ")

    def test_more_than_half_by_default(self):
        for count, quorum in ((1, 1), (2, 2), (3, 2)):
            text = ", ".join(
                f"http://h{n}/p/ {vkey}" for n, vkey in enumerate((self.one, self.two, self.three)[:count])
            )
            policy = Policy.parse(text)
            assert (len(policy.witnesses), policy.quorum) == (count, quorum)
            assert policy.witnesses[0].url == "http://h0/p"
            assert policy.witnesses[0].name == "w1"
        assert Policy.parse(text, " 3 ").quorum == 3

    @pytest.mark.parametrize(
        ("witnesses", "quorum", "complaint"),
        [
            ("{0}", "", "URL VKEY"),
            ("ftp://h {0}", "", "URL VKEY"),
            ("http://h?x {0}", "", "URL VKEY"),
            ("http://h:x {0}", "", "URL VKEY"),
            ("http://[h {0}", "", "URL VKEY"),
            ("http://h", "", "looks like name"),
            ("http://h {0}x", "", "base64|0x04"),
            ("http://h {0}, http://i {0}", "", "one word counts once"),
            ("http://h {0}", "0", "from 1 to 1"),
            ("http://h {0}", "2", "from 1 to 1"),
            ("http://h {0}", "most", "from 1 to 1"),
            ("", "1", "there are none"),
            (" , ", "", "at least one"),
        ],
    )
    def test_strict(self, witnesses, quorum, complaint):
        with pytest.raises(PolicyError, match=complaint):
            Policy.parse(witnesses.format(self.one), quorum)
        assert issubclass(PolicyError, WitnessError)
