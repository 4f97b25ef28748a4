"""The agent's keys against the real interface: changed at leisure, and with the agent killed at any step."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ledger import keys as provider
from ledger import log, models
from ledger.fsck.run import rebuild
from ledger.statements import keys
from ledger.statements.statement import sign_statement
from ledger.workflow.clients import reenrol_client
from prover_worker import client_keys
from prover_worker.agent import main
from prover_worker.agent_state import Folder
from prover_worker.client import Agent
from prover_worker.client_keys import ClientKeys
from prover_worker.errors import AgentError, Refused
from prover_worker.ledger_client import LedgerClient
from tests.ledger.story import Party, Story
from tests.ledger.test_key_changes import wired

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    """The process is gone."""


@pytest.fixture
def party(story: Story) -> Party:
    return story.party(committed=False)


@pytest.fixture
def agent(party: Party, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Enrolled, in a folder of its own; its requests are signed as on a network."""

    def client(**arguments: Any) -> httpx2.Client:
        made = wired()
        made.event_hooks = arguments["event_hooks"] or {}
        made.base_url = arguments["base_url"]
        return made

    monkeypatch.setattr(httpx2, "Client", client)
    agent = Agent(tmp_path / "agent", backend=None)  # type: ignore[arg-type]  # nothing is proved here
    _, token = reenrol_client(party.row.uuid, "lost")
    agent.enrol("http://testserver", party.uuid, token)
    return agent


def own(agent: Agent) -> str:
    return keys.keyid(agent._key)


def test_a_life_of_keys(agent: Agent, party: Party, tmp_path: Path) -> None:
    spare = tmp_path / "spare.pem"
    added = agent.keys.add(spare, "safe")
    assert agent.keys.add(spare) == added
    assert spare.stat().st_mode & 0o777 == 0o600
    first, second = own(agent), agent.keys.rotate("laptop")
    assert own(agent) == second != first
    listed = {key["keyid"]: key for key in agent.keys.listed()}
    assert (listed[added]["label"], listed[second]["label"], listed[second]["own"]) == ("safe", "laptop", True)
    assert not listed[first]["valid"]
    with pytest.raises(AgentError, match="use `keys rotate`"):
        agent.keys.revoke(second, "lost")
    with pytest.raises(AgentError, match="0 valid keys"):
        agent.keys.revoke(first, "lost")
    with pytest.raises(AgentError, match="valid keys of this client begin with"):
        agent.keys.revoke("", "lost")
    assert agent.keys.use(spare) == own(agent) == added
    assert agent.keys.revoke(second[:10], "stolen") == second
    rebuild(lambda *_: None)


def test_all_of_it_by_commands(
    agent: Agent, party: Party, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder of its own, in the words of docs/agent.md."""

    def call(*words: Any) -> str:
        mask = os.umask(0o077)
        try:
            status = main(["--state", str(tmp_path / "another"), "--progress", "none", *map(str, words)])
        finally:
            os.umask(mask)
        said = capsys.readouterr()
        assert status == 0, said
        return said.out

    published = "--log-vkey", provider.log_signer().vkey, "--provider-key", keys.public_hex(provider.provider_key())
    _, token = reenrol_client(party.row.uuid, "lost")
    call("enrol", "--server", "http://testserver", "--client", party.uuid, "--token", token, *published)
    assert "added key" in call("keys", "add", "--out", tmp_path / "spare.pem", "--label", "safe")
    assert "this folder now signs with key" in call("keys", "rotate")
    listed = call("keys", "list")
    assert "safe" in listed
    (mine,) = (line for line in listed.splitlines() if "this folder's" in line)
    call("keys", "use", tmp_path / "spare.pem")
    said = call("keys", "revoke", re.findall("[0-9a-f]{16}", mine)[0], "--reason", "stolen")
    assert said.startswith("revoked key")
    _, token = reenrol_client(party.row.uuid, "lost")
    assert "enrolled a new key" in call("enrol", "--replace", "--token", token)
    rebuild(lambda *_: None)


def test_a_key_of_somebody_else_is_not_used(agent: Agent, story: Story, tmp_path: Path) -> None:
    other = story.party("other", committed=False)
    keys.save_private(other.key, tmp_path / "other.pem")
    before = own(agent)
    with pytest.raises(AgentError, match="is a key of client"):
        agent.keys.use(tmp_path / "other.pem")
    keys.save_private(keys.generate(), tmp_path / "stranger.pem")
    with pytest.raises(Refused):
        agent.keys.use(tmp_path / "stranger.pem")
    assert own(agent) == before


def _after(function: Any) -> Any:
    def die(*arguments: Any, **named: Any) -> Any:
        function(*arguments, **named)
        raise KilledError

    return die


def _instead(_function: Any) -> Any:
    def die(*_: Any, **__: Any) -> Any:
        raise KilledError

    return die


MOMENTS = [
    (client_keys, "load_or_make", _after), (Folder, "write_json", _instead), (Folder, "write_json", _after),
    (LedgerClient, "submit", _instead), (LedgerClient, "submit", _after), (ClientKeys, "_keep_old", _instead),
    (ClientKeys, "_keep_old", _after), (ClientKeys, "_label", _instead), (ClientKeys, "_label", _after),
]  # fmt: skip


CASES = [
    (change, number)
    for change in ("rotate", "add")
    for number, (_, name, _) in enumerate(MOMENTS)
    if change == "rotate" or name != "_keep_old"
]


@pytest.mark.parametrize(("change", "moment"), CASES)
def test_killed_anywhere_nothing_is_lost(
    agent: Agent, party: Party, story: Story, tmp_path: Path, change: str, moment: int
) -> None:
    """Whatever command comes next signs with a key that the log takes; the change itself is made once."""
    where, name, how = MOMENTS[moment]

    def do() -> str:
        return agent.keys.rotate("x") if change == "rotate" else agent.keys.add(tmp_path / "spare.pem", "x")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, how(getattr(where, name)))
        with pytest.raises(KilledError):
            do()
    assert agent._ledger().me()["uuid"] == party.uuid
    said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
    agent._ledger().submit(sign_statement(said, agent._key))
    logged = models.LogEntry.objects.filter(predicate_type__contains=f":client-key-{change[:3]}").count()
    assert not agent.state.has(client_keys.CHANGE)
    if logged == 0:
        do()
    assert models.LogEntry.objects.filter(predicate_type__contains=f":client-key-{change[:3]}").count() == 1
    assert len([key for key in agent.keys.listed() if key["valid"]]) == (1 if change == "rotate" else 2)
    rebuild(lambda *_: None)


def test_a_statement_whose_answer_was_lost_before_a_rotation(agent: Agent, party: Party, story: Story) -> None:
    said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
    first = agent._ledger().submit(sign_statement(said, agent._key))
    agent.keys.rotate()
    assert agent._ledger().submit(sign_statement(said, agent._key)) == first


def test_another_statement_in_its_place_is_noticed(
    agent: Agent, party: Party, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
    ledger = agent._ledger()
    wrong = log.entry_ref(story.model.entry)
    answer = httpx2.Response(200, json={"index": wrong.index, "leafHash": wrong.leaf_hash})
    real = ledger._http.request
    monkeypatch.setattr(ledger._http, "request", lambda m, p, **a: answer if m == "POST" else real(m, p, **a))
    with pytest.raises(AgentError, match="something else than what was sent"):
        ledger.submit(sign_statement(said, agent._key))


def test_a_change_that_is_refused_leaves_the_old_key(agent: Agent, party: Party) -> None:
    before, staged = own(agent), agent.state.file(client_keys.STAGED)
    keys.save_private(party.key, staged)  # enrolled before, and revoked
    with pytest.raises(Refused, match="enrolled before"):
        agent.keys.rotate()
    assert not staged.exists()
    assert not agent.state.has(client_keys.CHANGE)
    assert own(agent) == before
    agent.keys.rotate()
    assert own(agent) != before


def test_an_officer_ends_a_key_whose_change_was_under_way(agent: Agent, party: Party) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LedgerClient, "submit", _after(LedgerClient.submit))
        with pytest.raises(KilledError):
            agent.keys.rotate()
    _, token = reenrol_client(party.row.uuid, "stolen")
    agent.replace_key(token)
    assert agent._ledger().me()["key"] == own(agent)
