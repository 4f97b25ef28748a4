"""Clients change their own keys, several are valid at once; nobody slips in a key or gets past one that ended."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.utils import timezone

from ledger import log, models
from ledger.fsck.run import rebuild
from ledger.statements import dsse, httpsig, keys, predicates
from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError
from ledger.statements.keyring import KeyRing
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from ledger.workflow import client_keys, clients, commitments, proofs
from ledger.workflow.certificates import certify
from ledger.workflow.client_keys import add_key, revoke_client_key, revoke_own_key, rotate_key
from ledger.workflow.errors import WorkflowError
from prover_worker.audit.opening import open_bundle
from tests.bundles import window_bundle
from tests.ledger.story import Party, Story, verdict
from tests.ledger.test_api import API, expect_problem, post, rows, send

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def brought(party: Party, key: Ed25519PrivateKey) -> LogRef:
    return log.entry_ref(party.row.keys.get(keyid=keys.keyid(key)).enrolled_entry)


def addition(client: str, new: Any, *signers: Ed25519PrivateKey, at: datetime = NOW) -> bytes:
    said = predicates.ClientKeyAddition(client=client, public_key=keys.public_hex(new), added_at=at)
    return signed(said, *signers)


def rotation(client: str, old: LogRef, new: Any, *signers: Ed25519PrivateKey) -> bytes:
    said = predicates.ClientKeyRotation(
        client=client, replaces=old, public_key=keys.public_hex(new), rotated_at=NOW
    )
    return signed(said, *signers)


def revocation(client: str, old: LogRef, signer: Ed25519PrivateKey, by: Any = "client") -> bytes:
    said = predicates.ClientKeyRevocation(client=client, enrolled=old, by=by, reason="lost", revoked_at=NOW)
    return signed(said, signer)


def signed(said: predicates.Predicate, *signers: Ed25519PrivateKey) -> bytes:
    envelope = sign_statement(said, signers[0])
    for key in signers[1:]:
        envelope = dsse.countersign(envelope, key)
    return envelope.to_bytes()


def added(party: Party) -> Ed25519PrivateKey:
    new = keys.generate()
    add_key(addition(party.uuid, new, party.key, new))
    return new


def commitment(story: Story, party: Party) -> predicates.ModelCommitment:
    return party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))


class TestSeveralKeys:
    def test_any_valid_key_signs_statements_and_requests(self, story: Story) -> None:
        party = story.party(committed=False)
        second = added(party)
        assert commitments.accept_commitment(signed(commitment(story, party), second)).created
        for key in (party.key, second):
            party.key = key
            got = send("GET", "/me", party).json()
            assert (got["uuid"], got["key"], len(got["keys"])) == (party.uuid, keys.keyid(key), 2)
        rebuild(lambda *_: None)

    def test_one_statement_replaces_a_key(self, story: Story) -> None:
        party, new = story.party(), keys.generate()
        old, body = party.key, rotation(party.uuid, brought(party, party.key), new, party.key, new)
        accepted = rotate_key(body)
        assert accepted.created
        again = rotate_key(body)
        assert (again.entry, again.created) == (accepted.entry, False)
        said = commitment(story, party)
        with pytest.raises(WorkflowError, match="was revoked"):
            commitments.accept_commitment(signed(said, old))
        commitments.accept_commitment(signed(said, new))
        expect_problem(send("GET", "/orders", party), 401, "authentication-failed")
        party.key = new
        assert send("GET", "/orders", party).status_code == 200
        rebuild(lambda *_: None)

    def test_a_key_is_revoked_by_another_or_by_itself_but_never_the_last(self, story: Story) -> None:
        party = story.party(committed=False)
        second, third = added(party), added(party)
        revoke_own_key(revocation(party.uuid, brought(party, party.key), second))
        body = revocation(party.uuid, brought(party, third), third)
        assert revoke_own_key(body).created
        assert not revoke_own_key(body).created  # whoever lost the answer asks again, with a key that is over
        with pytest.raises(WorkflowError, match="the client's last key"):
            revoke_own_key(revocation(party.uuid, brought(party, second), second))
        revoke_client_key(party.uuid, keys.keyid(second), "stolen")
        assert party.row.state_at(timezone.now()) == "keyless"
        rebuild(lambda *_: None)

    def test_an_old_key_in_the_middle_of_an_order(self, story: Story) -> None:
        """Rotated between claim and proof; the bundle is verified offline."""
        party = story.party()
        window = story.masked_window()
        claim = story.claimed(party, window.orders.get())
        new = keys.generate()
        rotate_key(rotation(party.uuid, brought(party, party.key), new, party.key, new))
        said = party.proof(claim)
        with pytest.raises(WorkflowError, match="was revoked"):
            proofs.accept_proof(party.sign(said))
        accepted = proofs.accept_proof(signed(said, new))
        proofs.record_verdict(models.ProofSubmission.objects.get(entry=accepted.entry).uuid, verdict())
        certify(window.uuid)
        audit = open_bundle(io.BytesIO(window_bundle(window.uuid)))
        assert len(list(audit.of(predicates.ClientKeyRotation))) == 1


class TestNotWithoutBothKeys:
    @pytest.mark.parametrize("kind", ["addition", "rotation"])
    def test_signatures(self, story: Story, kind: str) -> None:
        party, other, new, stranger = story.party(), story.party("b"), keys.generate(), keys.generate()

        def body(*signers: Any) -> bytes:
            if kind == "addition":
                return addition(party.uuid, new, *signers)
            return rotation(party.uuid, brought(party, party.key), new, *signers)

        use = add_key if kind == "addition" else rotate_key
        before = rows()
        for signers, code in (
            ((party.key,), "bad-envelope"),
            ((new,), "bad-envelope"),
            ((party.key, new, stranger), "bad-envelope"),
            ((new, party.key), "unknown-key"),
            ((stranger, new), "unknown-key"),
            ((party.key, stranger), "bad-signature"),
            ((party.key, party.key), "bad-signature"),
            ((other.key, new), "wrong-client"),
        ):
            with pytest.raises(WorkflowError) as refused:
                use(body(*signers))
            assert refused.value.code == code, signers
        assert rows() == before

    def test_the_key_id_is_a_hint_and_no_more(self, story: Story) -> None:
        """Signed by one key, said to be by another: neither client's endpoints nor statements take it."""
        one, two = story.party("a"), story.party("b")
        envelope = Envelope.parse(signed(commitment(story, one), two.key))
        renamed = dsse.Signature(keys.keyid(one.key), envelope.signatures[0].sig)
        with pytest.raises(WorkflowError) as refused:
            commitments.accept_commitment(Envelope(envelope.payload, envelope.payload_type, (renamed,)).to_bytes())
        assert refused.value.code == "bad-signature"
        headers = httpsig.sign_request("GET", f"http://testserver{API}/me", b"", two.key)
        headers["Signature-Input"] = headers["Signature-Input"].replace(keys.keyid(two.key), keys.keyid(one.key))
        expect_problem(send("GET", "/me", **headers), 401, "authentication-failed")

    def test_keys_that_were_there_before(self, story: Story) -> None:
        one, two = story.party("a"), story.party("b")
        gone = added(one)
        revoke_own_key(revocation(one.uuid, brought(one, gone), one.key))
        for known in (one.key, two.key, gone):
            with pytest.raises(WorkflowError, match="enrolled before"):
                add_key(addition(one.uuid, known, one.key, known, at=timezone.now()))

    def test_another_key_than_the_one_that_signs(self, story: Story) -> None:
        party, new = story.party(), keys.generate()
        second = added(party)
        with pytest.raises(WorkflowError, match="signed it"):
            rotate_key(rotation(party.uuid, brought(party, second), new, party.key, new))

    def test_keys_of_others_and_statements_of_the_provider(self, story: Story) -> None:
        one, two = story.party("a"), story.party("b")
        added(one)
        added(two)
        for body, code in (
            (revocation(one.uuid, brought(two, two.key), one.key), "wrong-reference"),
            (revocation(two.uuid, brought(two, two.key), one.key), "wrong-client"),
            (revocation(one.uuid, brought(one, one.key), one.key, by="provider"), "wrong-statement"),
        ):
            with pytest.raises(WorkflowError) as refused:
                revoke_own_key(body)
            assert refused.value.code == code

    def test_eight_keys_are_enough(self, story: Story) -> None:
        party = story.party()
        for _ in range(client_keys.MAX_KEYS - 1):
            added(party)
        with pytest.raises(WorkflowError, match="revoke one first"):
            added(party)


class TestRing:
    """What a reader of the log refuses, whatever the workflow does."""

    provider, one, two, new, stranger = (keys.generate() for _ in range(5))
    client, other = "01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdee"

    def ring(self) -> KeyRing:
        ring = KeyRing(keys.public_hex(self.provider), [(0, keys.public_hex(self.provider))])
        for index, (client, key) in enumerate(((self.client, self.one), (self.other, self.stranger))):
            said = predicates.ClientEnrolment(client=client, public_key=keys.public_hex(key))
            ring.open(index, sign_statement(said, key))
        return ring

    def ref(self, index: int) -> LogRef:
        return LogRef(index=index, leaf_hash="ab" * 32)

    def opened(self, ring: KeyRing, index: int, body: bytes) -> None:
        ring.open(index, Envelope.parse(body))

    def test_a_life_with_several_keys(self) -> None:
        ring = self.ring()
        self.opened(ring, 2, addition(self.client, self.two, self.one, self.two))
        self.opened(ring, 3, rotation(self.client, self.ref(0), self.new, self.one, self.new))
        self.opened(ring, 4, revocation(self.client, self.ref(2), self.new))
        with pytest.raises(RuleError, match="last key"):
            self.opened(self.copy(ring), 5, revocation(self.client, self.ref(3), self.new))
        self.opened(ring, 5, revocation(self.client, self.ref(3), self.provider, by="provider"))
        with pytest.raises(RuleError, match="whose key was revoked"):
            self.opened(ring, 6, addition(self.client, keys.generate(), self.new, self.new))

    @staticmethod
    def copy(ring: KeyRing) -> KeyRing:
        return KeyRing(ring.provider, list(ring.log_keys), dict(ring.clients), set(ring.used), set(ring.retired))

    @pytest.mark.parametrize(
        "signers",
        [["new"], ["one"], ["stranger", "new"], ["provider", "new"], ["one", "stranger"], ["one", "provider"]],
    )
    @pytest.mark.parametrize("kind", ["addition", "rotation"])
    def test_both_keys_must_sign(self, kind: str, signers: list[str]) -> None:
        by = [getattr(self, name) for name in signers]
        body = (
            addition(self.client, self.new, *by)
            if kind == "addition"
            else rotation(self.client, self.ref(0), self.new, *by)
        )
        with pytest.raises(RuleError, match="not signed by whom it must be"):
            self.opened(self.ring(), 2, body)

    def test_a_revocation_by_somebody_else(self) -> None:
        for signer, by in (
            (self.stranger, "client"),
            (self.provider, "client"),
            (self.stranger, "provider"),
            (self.one, "provider"),
        ):
            ring = self.ring()
            self.opened(ring, 2, addition(self.client, self.two, self.one, self.two))
            with pytest.raises(RuleError, match="not signed by whom it must be"):
                self.opened(ring, 3, revocation(self.client, self.ref(0), signer, by=by))

    def test_keys_of_others_and_keys_that_ended(self) -> None:
        with pytest.raises(RuleError, match="about the key of entry 1"):
            self.opened(self.ring(), 2, rotation(self.client, self.ref(1), self.new, self.stranger, self.new))
        ring = self.ring()
        self.opened(ring, 2, rotation(self.client, self.ref(0), self.new, self.one, self.new))
        with pytest.raises(RuleError, match="about the key of entry 0"):
            self.opened(ring, 3, rotation(self.client, self.ref(0), self.two, self.one, self.two))
        for known in (self.one, self.new, self.stranger):
            with pytest.raises(RuleError, match="in use before"):
                self.opened(ring, 3, addition(self.client, known, self.new, known))

    def test_nothing_follows_a_retirement(self) -> None:
        ring = self.ring()
        said = predicates.ClientRetirement(client=self.client, retired_at=NOW)
        with pytest.raises(RuleError, match="not signed by whom it must be"):
            self.opened(ring, 2, signed(said, self.one))
        self.opened(ring, 2, signed(said, self.provider))
        with pytest.raises(RuleError, match="which was retired"):
            self.opened(ring, 3, addition(self.client, self.new, self.one, self.new))
        enrolment = predicates.ClientEnrolment(client=self.client, public_key=keys.public_hex(self.new))
        with pytest.raises(RuleError, match="which was retired"):
            self.opened(ring, 3, signed(enrolment, self.new))


class TestTokens:
    def test_a_token_is_a_word_that_every_command_line_takes(self, story: Story) -> None:
        """One in 64 of base64's begins with a hyphen, and `--token -x` is no token but an option."""
        party = story.party(committed=False)
        for token in (clients.invite_client("another")[1], clients.reenrol_client(party.uuid, "lost")[1]):
            assert re.fullmatch("[0-9a-f]{64}", token)

    def test_a_token_expires_and_is_replaced(self, story: Story) -> None:
        party = Party(*clients.invite_client("a", days=1))
        models.Client.objects.update(token_expires_at=timezone.now())
        with pytest.raises(WorkflowError, match="expired at"):
            party.enrol()
        party.row.refresh_from_db()
        assert party.row.state_at(timezone.now()) == "expired"
        old, (_, party.token) = party.token, clients.reissue_token(party.uuid)
        with pytest.raises(WorkflowError, match="no invitation has this enrolment token"):
            clients.enrol_client(party.enrolment(), old)
        party.enrol()
        with pytest.raises(WorkflowError, match="has a valid key"):
            clients.reissue_token(party.uuid)

    def test_an_enrolment_whose_answer_was_lost(self, story: Story) -> None:
        party = Party(*clients.invite_client("a"))
        first = party.enrol()
        models.Client.objects.update(token_expires_at=timezone.now())
        again = clients.enrol_client(party.enrolment(), party.token)
        assert (again.entry, again.created) == (first.entry, False)

    def test_wrong_tokens_are_limited_by_address(self, story: Story) -> None:
        party = Party(*clients.invite_client("a"))
        body = party.enrolment()
        for _ in range(10):
            expect_problem(send("POST", "/statements", body=body, **{"Enrolment-Token": "x"}), 401, "unknown-token")
        refused = send("POST", "/statements", body=body, **{"Enrolment-Token": party.token})
        expect_problem(refused, 429, "too-many-requests")
        assert 300 < int(refused.headers["Retry-After"]) <= 361  # ten an hour: one is earned in six minutes
        # Statements without a token, which carry their own signature, are as welcome as before.
        expect_problem(send("POST", "/statements", body=body), 401, "unknown-token")
        assert not models.ClientKey.objects.exists()


CLIENTS = [("GET", "/me", b""), ("GET", "/me/keys", b""), ("GET", "/orders", b"")]


class TestSignedRequests:
    """Attacks on what a client may read, at every endpoint of clients."""

    def endpoints(self, party: Party) -> list[tuple[str, str, bytes]]:
        keyid = keys.keyid(party.key)
        order = models.Order.objects.get(client_model__client=party.row)
        blob = models.Blob.objects.filter(owner=party.row)[0]
        return [
            *CLIENTS,
            ("GET", f"/orders/{order.uuid}", b""),
            ("GET", f"/blobs/{blob.sha256}", b""),
            ("PATCH", f"/me/keys/{keyid}", b'{"label": "x"}'),
        ]

    @pytest.fixture
    def parties(self, story: Story) -> tuple[Party, Party]:
        one, two = story.party("a"), story.party("b")
        story.masked_window()
        return one, two

    def call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        response = Browser().generic(method, API + path, body, content_type="application/json", headers=headers)
        if response.streaming:
            response.getvalue()  # reads the file to its end, which closes it
        return response

    def test_another_client_sees_nothing(self, parties: tuple[Party, Party]) -> None:
        one, two = parties
        for method, path, body in self.endpoints(one):
            url = f"http://testserver{API}{path}"
            assert (
                self.call(method, path, body, httpsig.sign_request(method, url, body, one.key)).status_code == 200
            )
            response = self.call(method, path, body, httpsig.sign_request(method, url, body, two.key))
            if response.status_code == 200:  # the same address shows everybody their own
                assert one.uuid not in response.content.decode()
                assert keys.keyid(one.key) not in response.content.decode()
            else:
                expect_problem(response, 404, "not-found")
        assert two.row.keys.get().label == ""

    def test_signatures_that_were_made_for_something_else(self, parties: tuple[Party, Party]) -> None:
        one, _ = parties
        endpoints = self.endpoints(one)
        for method, path, body in endpoints:
            good = f"http://testserver{API}{path}"
            bad = [
                httpsig.sign_request(method, good.replace("testserver", "elsewhere"), body, one.key),
                httpsig.sign_request(method, good + "?x=1", body, one.key),
                httpsig.sign_request("PUT", good, body, one.key),
                httpsig.sign_request(method, good, body, keys.generate()),
                httpsig.sign_request(method, good, body, one.key, timezone.now() - httpsig.MAX_AGE * 1.1),
                httpsig.sign_request(method, good, body, one.key, timezone.now() + httpsig.MAX_AGE),
                httpsig.sign_request(method, good, b"another body", one.key),
                *(
                    httpsig.sign_request(other, f"http://testserver{API}{elsewhere}", data, one.key)
                    for other, elsewhere, data in endpoints
                    if elsewhere != path
                ),
            ]
            for headers in bad:
                response = self.call(method, path, body, headers)
                expect_problem(response, 401, "authentication-failed")
            expect_problem(self.call(method, path, body, {}), 401, "not-authenticated")
        assert one.row.keys.get().label == ""

    def test_revoked_keys_and_retired_clients(self, parties: tuple[Party, Party]) -> None:
        one, two = parties
        window = models.Window.objects.get()
        models.Order.objects.update(due_at=timezone.now())
        certify(window.uuid)
        endpoints = self.endpoints(one)
        clients.reenrol_client(one.uuid, "stolen")
        clients.retire_client(two.uuid)
        for party in (one, two):
            for method, path, body in endpoints:
                url = f"http://testserver{API}{path}"
                response = self.call(method, path, body, httpsig.sign_request(method, url, body, party.key))
                expect_problem(response, 401, "authentication-failed")

    def test_a_replay_within_its_time_changes_nothing_more(self, parties: tuple[Party, Party]) -> None:
        one, _ = parties
        path = f"/me/keys/{keys.keyid(one.key)}"
        headers = httpsig.sign_request("PATCH", f"http://testserver{API}{path}", b'{"label": "x"}', one.key)
        for _ in range(2):
            assert self.call("PATCH", path, b'{"label": "x"}', headers).json()["label"] == "x"
        expect_problem(self.call("PATCH", path, b'{"label": "y"}', headers), 401, "authentication-failed")
        assert one.row.keys.get().label == "x"

    def test_labels_stay_out_of_the_log(self, parties: tuple[Party, Party]) -> None:
        one, _ = parties
        client_keys.label_key(one.row, keys.keyid(one.key), "Zygmunt's laptop")
        assert all(b"Zygmunt" not in bytes(row.envelope) for row in models.LogEntry.objects.all())
        with pytest.raises(WorkflowError, match="at most 100"):
            client_keys.label_key(one.row, keys.keyid(one.key), "x" * 101)


class TestRetirement:
    def said(self, held: models.ClientModel) -> predicates.ClientModelRetirement:
        return predicates.ClientModelRetirement(
            client=str(held.client_id),
            model=log.entry_ref(held.model.entry),
            commitment=log.entry_ref(held.entry),
            retired_at=NOW,
        )

    def test_a_model_goes_out_of_use(self, story: Story) -> None:
        party, held = story.party(), models.ClientModel.objects.get()
        body = party.sign(self.said(held))
        assert send("POST", "/statements", body=body).status_code == 201
        assert send("POST", "/statements", body=body).status_code == 200
        assert not story.masked_window().orders.exists()
        with pytest.raises(WorkflowError, match="it stays retired"):
            story.commit(party)
        rebuild(lambda *_: None)

    def test_open_orders_come_first(self, story: Story) -> None:
        party = story.party()
        window = story.masked_window()
        held = models.ClientModel.objects.get()
        with pytest.raises(WorkflowError, match="none of its orders is open"):
            commitments.accept_model_retirement(party.sign(self.said(held)))
        with pytest.raises(WorkflowError, match="none of its orders is open"):
            clients.retire_client(party.uuid)
        proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
        commitments.accept_model_retirement(party.sign(self.said(held)))
        clients.retire_client(party.uuid)
        assert clients.retire_client(party.uuid).retired_entry is not None
        rebuild(lambda *_: None)

    def test_not_anothers_and_not_an_earlier_one(self, story: Story) -> None:
        one, two = story.party("a"), story.party("b")
        first = one.row.models.get()
        with pytest.raises(WorkflowError) as refused:
            commitments.accept_model_retirement(two.sign(self.said(first)))
        assert refused.value.code == "wrong-client"
        story.commit(one)
        with pytest.raises(WorkflowError, match="as its last commitment there"):
            commitments.accept_model_retirement(one.sign(self.said(first)))

    def test_a_retired_client(self, story: Story) -> None:
        party = story.party()
        added(party)
        clients.retire_client(party.uuid)
        assert not story.masked_window().orders.exists()
        with pytest.raises(WorkflowError, match="was revoked"):
            story.commit(party)
        for use_case in (clients.reissue_token, lambda client: clients.reenrol_client(client, "lost")):
            with pytest.raises(WorkflowError, match="was retired"):
                use_case(party.uuid)
        rebuild(lambda *_: None)


def test_officers_over_the_wire(story: Story) -> None:
    officer = Browser()
    user = User.objects.create(username="officer", is_staff=True, is_superuser=True)
    officer.force_login(user)
    invited = post(officer, "/clients", {"name": "clinic", "days": 3}).json()
    party = Party(models.Client.objects.get(uuid=invited["client"]), invited["token"])
    again = post(officer, f"/clients/{party.uuid}/token").json()
    assert again["token"] != invited["token"]
    party.token = again["token"]
    party.enrol()
    added(party)
    (line,) = officer.get(f"{API}/clients?state=enrolled&name=CLI").json()["items"]
    assert (line["uuid"], line["name"], line["tokenExpiresAt"]) == (party.uuid, "clinic", None)
    assert officer.get(f"{API}/clients?state=keyless").json() == {"items": [], "next": None}
    expect_problem(officer.get(f"{API}/clients?state=odd"), 422, "bad-filter")
    shown = officer.get(f"{API}/clients/{party.uuid}").json()
    assert [key["valid"] for key in shown["keys"]] == [True, True]
    path = f"/clients/{party.uuid}/keys/{keys.keyid(party.key)}/revoke"
    expect_problem(post(officer, path, {"reason": "drunk"}), 422, "bad-reason")
    assert post(officer, path, {"reason": "stolen"}).json()["valid"] is False
    assert post(officer, f"/clients/{party.uuid}/retire").json()["state"] == "retired"
    kinds = models.Event.objects.filter(actor_id=str(user.pk)).values_list("kind", flat=True)
    assert list(kinds) == ["client.invited", "client.token-issued", "client.key-revoked", "client.retired"]
