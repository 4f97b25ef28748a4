"""What an agent refuses before it does anything. The whole path over HTTP is another test's business."""

import errno
import json
import stat
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ledger.statements.predicates import Challenge
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.model_release import TargetTensor
from prover_worker.agent_state import Folder
from prover_worker.client import Agent
from prover_worker.committing import _salted_digests, chosen_model
from prover_worker.errors import AgentError
from tests.fakes import FakeLedger
from tests.prover_worker.story import BACKEND
from unlearning import adapters, backbones, datasets

OURS, ORDER = (f"00000000-0000-4000-8000-00000000000{n}" for n in (0, 3))
COMMITMENT = LogRef(index=3, leaf_hash="33" * 32)
ELSEWHERE = LogRef(index=1, leaf_hash="11" * 32)


class OfflineAgent(Agent):
    """An agent whose ledger is in memory."""

    def __init__(self, folder, ledger):
        super().__init__(folder, BACKEND)
        self.ledger = ledger

    def _ledger(self):
        return self.ledger


@pytest.fixture
def ledger():
    return FakeLedger()


@pytest.fixture
def agent(tmp_path, ledger):
    agent = OfflineAgent(tmp_path / "state", ledger)
    agent.state.write_json("agent.json", {"client": OURS})
    agent.state.sub("commitment").write_json("logged.json", COMMITMENT.model_dump())
    return agent


def test_the_one_challenge_of_a_claim(agent, ledger):
    claim, folder = LogRef(index=8, leaf_hash="88" * 32), agent.state.sub("orders", ORDER, "1")
    first = ledger.log(10, Challenge(claim=claim, checkpoint="a note"))
    second = ledger.log(12, Challenge(claim=claim, checkpoint="another note"))
    foreign = ledger.log(14, Challenge(claim=ELSEWHERE, checkpoint="a note"))

    def check(ref):
        return agent._checked_challenge(ledger, {"challenge": {"ref": ref.model_dump()}}, folder, claim)

    with pytest.raises(AgentError, match="challenge 14 is about another claim than ours at index 8"):
        check(foreign)
    assert check(first) == check(first) == (first, "a note")
    with pytest.raises(AgentError, match="second challenge for the claim at index 8; tell an auditor"):
        check(second)
    assert check(first) == (first, "a note")
    assert set(ledger.notes) == {"a note", "another note"}  # each was held against the log's history


@pytest.mark.parametrize("state", ["claimed", "challenged"])
def test_a_claim_whose_answer_never_came_is_sent_once_more(agent, monkeypatch, state):
    """The provider may have drawn the challenge by the time the client is back."""
    ref, sent = LogRef(index=10, leaf_hash="aa" * 32), []
    challenge = None if state == "claimed" else {"ref": ref.model_dump()}
    order = {"uuid": ORDER, "state": state, "attempt": 1, "verdict": None, "challenge": challenge}
    monkeypatch.setattr(agent, "claim", lambda order: sent.append(order) or agent.attempt_folder(order, 1))
    agent.ledger.order = lambda _uuid: order
    assert agent.has_work(order, ["unlearn"])
    assert agent.advance(order, ["unlearn"]) == (order, "claimed, attempt 1")
    assert sent == [order]
    agent.attempt_folder(order, 1).write_json("claim.json", {})
    assert agent.advance(order, ["unlearn"]) is None
    assert sent == [order]


def test_attempts_end_before_the_salt_does(agent):
    """Two openings per attempt at any order, and one row to spare: eight rows are enough for three attempts."""
    now = agent.state.sub("orders", ORDER, "2")
    for number in range(2):
        agent.state.sub("orders", f"order-{number}", "1").write_json("claim.json", {})
        agent._expect_salt(now, 8)
    now.write_json("claim.json", {})
    agent._expect_salt(now, 8)  # its own claim counts once
    agent.state.sub("orders", ORDER, "1").write_json("claim.json", {})
    with pytest.raises(AgentError, match="3 proofs have opened this commitment; with 8 salt rows one more"):
        agent._expect_salt(now, 8)


def test_a_proof_that_zeros_were_kept_opens_the_commitment_too(agent):
    now = agent.state.sub("orders", ORDER, "1")
    agent._expect_salt(now, 4)
    agent.state.sub("commitment").write_json("continuation-challenge.json", {})
    with pytest.raises(AgentError, match="1 proofs have opened this commitment; with 4 salt rows one more"):
        agent._expect_salt(now, 4)


@pytest.mark.parametrize("name", ["../../etc", "", "x", 'a"b'])
def test_an_orders_name_must_be_a_uuid_to_become_a_path(agent, name):
    with pytest.raises(AgentError, match="for an order's UUID; nothing was done"):
        agent.claim({"uuid": name, "attempt": 0, "state": "issued"})


def test_a_client_that_is_not_enrolled_is_told_so(tmp_path):
    with pytest.raises(AgentError, match="holds no enrolled client; run `enrol` first"):
        Agent(tmp_path, BACKEND).orders()


# The state folder


def test_files_are_the_owners_and_whole(tmp_path, monkeypatch):
    folder = Folder(tmp_path / "state").sub("orders", "1")
    path = folder.write("seed", b"old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def broken(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        folder.write("seed", b"new")
    assert [file.name for file in folder.path.iterdir()] == ["seed"]
    assert folder.read("seed") == b"old"


def test_state_round_trips(tmp_path):
    folder = Folder(tmp_path)
    folder.write_json("a.json", {"b": [1]})
    assert folder.read_json("a.json") == json.loads((tmp_path / "a.json").read_text()) == {"b": [1]}
    folder.write_arrays("c.npz", x=np.arange(5), y=np.eye(2, dtype=np.int64))
    arrays = folder.read_arrays("c.npz")
    assert arrays["x"].tolist() == [0, 1, 2, 3, 4]
    assert arrays["y"].tolist() == [[1, 0], [0, 1]]
    assert not folder.has("d")
    with pytest.raises(AgentError, match="is missing from the agent's state folder"):
        folder.read("d")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        Folder(tmp_path).read_arrays("x.npz")


def test_the_model_that_was_personalised_is_the_newest_of_that_name():
    listed = [
        {"uuid": str(number), "predicate": {"name": name}}
        for number, name in enumerate(("small", "large", "small", "other"))
    ]
    for name, uuid in ((None, "3"), ("small", "2"), ("large", "1"), ("0", "0")):
        assert chosen_model(listed, name)["uuid"] == uuid
    with pytest.raises(AgentError, match="no model 'medium'; it has 'small', 'large', 'small', 'other'"):
        chosen_model(listed, "medium")


def test_committing_anew_keeps_what_was_there(agent):
    """The old commitment, its orders and its seed stay under the old log index; the new one begins empty."""
    old = agent.state.sub("commitment")
    old.write("seed", b"s" * 32)
    agent.state.sub("orders", ORDER, "1").write_json("claim.json", {})
    agent.state.sub("release").write("srs", b"")
    agent._set_aside(old)
    kept = agent.state.sub("commitment-3")
    assert kept.sub("commitment").read("seed") == b"s" * 32
    assert kept.sub("orders", ORDER, "1").has("claim.json")
    assert not any(agent.state.file(name).exists() for name in ("commitment", "orders", "release"))
    agent._expect_salt(agent.state.sub("orders", ORDER, "1"), 4)  # and the count of openings begins anew


def test_an_interruption_while_setting_aside_is_finished_by_the_next_call(agent):
    folder = agent.state.sub("commitment")
    agent.state.sub("orders", ORDER, "1").write_json("claim.json", {})
    agent.state.sub("commitment-3").path.mkdir()
    agent.state.file("orders").rename(agent.state.file("commitment-3") / "orders")  # and then the power failed
    agent._set_aside(folder)
    assert agent.state.sub("commitment-3", "commitment").has("logged.json")
    assert agent.state.sub("commitment-3", "orders", ORDER, "1").has("claim.json")


def test_a_model_with_adapters_is_committed_with_the_targets_of_the_providers(agent, tmp_path):
    """The adapters are among the tensors that must not change; the targets' layout stays the provider's."""
    torch.manual_seed(0)
    architecture = backbones.DIGITS_VIT | {"embed_dim": 32, "depth": 1, "num_heads": 2}
    model = backbones.build(architecture)
    adapters.attach(model, 3)
    backbones.save(tmp_path / "personal", model.state_dict())
    train = datasets.load("digits").train
    datasets.save_npz(tmp_path / "data.npz", datasets.Part(train.x[:20], train.y[:20]))
    name = "blocks.0.mlp.fc1.weight"
    provider = SimpleNamespace(architecture=architecture, targets=[TargetTensor(name=name, shape=[128, 32])])
    sizes = SimpleNamespace(grid_bits=22, block_size=64, rank=4, factor_limit=31, damping=1024)
    release = SimpleNamespace(predicate=SimpleNamespace(parameters=sizes, table_end=2**24))
    folder = agent.state.sub("commitment")
    agent._prepare(folder, provider, release, tmp_path / "personal", tmp_path / "data.npz", 20, 0)
    committed = backbones.load(folder.file("model.safetensors"))
    again = backbones.with_weights(architecture, committed)
    assert torch.allclose(again(torch.from_numpy(train.x[:3])), model(torch.from_numpy(train.x[:3])), atol=1e-4)
    salt = bytes.fromhex(folder.read_json("others.json")["salt"])
    assert _salted_digests(committed, {name}, salt) == folder.read_json("others.json")["sha256"]
    committed["blocks.0.mlp.adapter.up.bias"][0] += 1
    assert _salted_digests(committed, {name}, salt) != folder.read_json("others.json")["sha256"]


def test_a_release_that_changed_before_the_commitment_was_logged_begins_it_anew(agent):
    """Half a commitment to another model or under another circuit is worth nothing."""
    release, commitment = agent.state.sub("release"), agent.state.sub("commitment")
    commitment.write("factors.npz", b"of the old model")
    agent._keep_release(release, "model.json", {"name": "old"})
    agent._keep_release(release, "model.json", {"name": "old"})
    assert commitment.has("factors.npz")
    agent._keep_release(release, "model.json", {"name": "new"})
    assert not commitment.path.exists()
    assert release.read_json("model.json") == {"name": "new"}
