"""The REST interface: what it answers, and that every mistake gets a problem document and changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import User
from django.test import Client as Browser

from ledger import blobs, log, models
from ledger.keys import log_signer
from ledger.statements import dsse, httpsig, keys
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import NoteVerifier
from ledger.workflow import claims, proofs, windows
from ledger.workflow.clients import invite_client
from tests.bundles import Bundle
from tests.ledger.story import FORGET, OTHER, TOTAL, Party, Story, verdict

API = "/api/v1"
NOBODY = "00000000-0000-4000-8000-000000000000"


def send(method: str, path: str, party: Party | None = None, body: bytes = b"", **headers: str) -> Any:
    """A request as a program makes it, signed if `party` is given."""
    url = f"http://testserver{API}{path}"
    signed = httpsig.sign_request(method, url, body, party.key) if party else {}
    return Browser().generic(
        method, API + path, body, content_type="application/octet-stream", headers=signed | headers
    )


def expect_problem(response: Any, status: int, code: str) -> str:
    """The response is an RFC 9457 document; returns its sentence."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:unlearning-ledger:problem:{code}", body
    assert body["status"] == status
    assert len(body["detail"]) > 20
    return str(body["detail"])


def rows() -> dict[str, int]:
    names = [name for name in models.__all__ if name not in ("Job", "RateBucket")]
    return {name: getattr(models, name).objects.count() for name in names}


@pytest.fixture
def officer(db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create(username="officer", is_staff=True, is_superuser=True))
    return browser


def post(browser: Browser, path: str, body: Any = None) -> Any:
    return browser.post(API + path, json.dumps(body or {}), content_type="application/json")


def test_a_window_over_the_wire(story: Story, officer: Browser) -> None:
    invited = post(officer, "/clients", {"name": "clinic"}).json()
    party = Party(models.Client.objects.get(uuid=invited["client"]), invited["token"])
    response = send("POST", "/statements", body=party.enrolment(), **{"Enrolment-Token": party.token})
    assert response.status_code == 201
    assert set(response.json()) == {"index", "leafHash", "predicateType"}
    party.row.refresh_from_db()

    releases = send("GET", "/releases").json()
    said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
    assert releases["circuit"]["ref"] == said.circuit.model_dump(by_alias=True)
    assert releases["models"][0]["ref"] == said.model.model_dump(by_alias=True)
    assert set(releases["circuit"]["blobs"]) >= {"srs", "relation_vk", "range_settings"}
    envelope = party.sign(said)
    assert send("POST", "/statements", body=envelope).status_code == 201
    assert send("POST", "/statements", body=envelope).status_code == 200

    filed = post(officer, "/requests", {"regulation": "gdpr", "subject": "patient 7", "forget": FORGET})
    assert filed.status_code == 201
    name = filed.json()["uuid"]
    checked = post(officer, f"/requests/{name}/identity", {"method": "account-login", "result": "verified"})
    assert checked.json()["identity"]["verified"]
    assert post(officer, f"/requests/{name}/decision", {"decision": "approved"}).json()["state"] == "in_progress"
    opened = post(officer, "/windows", {"model": str(story.model.uuid), "requests": [name]})
    assert opened.status_code == 201
    window = opened.json()["uuid"]
    assert post(officer, f"/windows/{window}/close").json()["state"] == "closed"
    windows.publish_mask(window, b"mask", 2, TOTAL, {})

    (line,) = send("GET", "/orders", party).json()["items"]
    assert line["state"] == "issued"
    assert send("GET", f"/blobs/{line['maskSha256']}", party).getvalue() == b"mask"
    proof = story.proved(party, models.Order.objects.get())
    got = send("GET", f"/orders/{line['uuid']}", party).json()
    assert got["challenge"]["claimIndex"] == got["claim"]["index"]
    assert got["challenge"]["checkpoint"].startswith(settings.LEDGER_ORIGIN)
    assert got["state"] == "proved"
    proofs.record_verdict(proof.uuid, verdict(accepted=False))
    got = send("GET", f"/orders/{line['uuid']}", party).json()
    assert got["verdict"]["failures"] == [{"chunk": 1, "reason": "chunk 1: the relation does not hold"}]

    shown = officer.get(f"{API}/windows/{window}").json()
    assert [order["state"] for order in shown["orders"]] == ["rejected"]
    assert {job["kind"] for job in shown["jobs"]} == {"mask", "challenge", "verify"}
    assert post(officer, f"/windows/{window}/certify").json()["state"] == "certified"
    answer = officer.get(f"{API}/windows/{window}/bundle?proofs=digests")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="audit-{window}.zip"'
    bundle = Bundle.of(b"".join(answer.streaming_content))
    assert bundle.manifest["scope"] == {"kind": "window", "window": window}
    assert bundle.manifest["proofs"] == "digests"
    (certificate,) = officer.get(f"{API}/requests/{name}").json()["certificates"]
    assert not certificate["complete"]


def test_the_log_can_be_followed(story: Story) -> None:
    expect_problem(send("GET", "/log/checkpoint"), 404, "no-checkpoint")
    assert send("GET", "/log/entries/0").json()["proof"] is None
    old = log.publish_checkpoint()
    story.party()
    new = log.publish_checkpoint()
    note = send("GET", "/log/checkpoint")
    assert note.headers["Content-Type"].startswith("text/plain")
    vkey = NoteVerifier.parse(log_signer().vkey)
    head = open_checkpoint(note.content.decode(), vkey, settings.LEDGER_ORIGIN)
    entry = send("GET", "/log/entries/2").json()
    leaf = merkle.leaf_hash(base64.b64decode(entry["envelope"]))
    assert leaf.hex() == entry["leafHash"]
    merkle.verify_inclusion(leaf, 2, head.size, [base64.b64decode(x) for x in entry["proof"]], head.root)
    steps = send("GET", f"/log/consistency?old={old.size}&new={new.size}").json()["proof"]
    proof = [base64.b64decode(step) for step in steps]
    merkle.verify_consistency(old.size, bytes(old.root), new.size, bytes(new.root), proof)
    expect_problem(send("GET", "/log/entries/99"), 404, "not-found")
    for query, code in (
        ("", "bad-sizes"),
        ("?old=1&new=x", "bad-sizes"),
        ("?old=-1&new=2", "bad-sizes"),
        ("?old=3&new=2", "bad-sizes"),
        ("?old=0&new=99", "not-published"),
    ):
        expect_problem(send("GET", f"/log/consistency{query}"), 422, code)


def test_uploads(story: Story) -> None:
    party, other = story.party("one", committed=False), story.party("two", committed=False)
    data = b"points"
    digest = hashlib.sha256(data).hexdigest()
    assert send("PUT", f"/blobs/{digest}", party, data).status_code == 201
    assert send("PUT", f"/blobs/{digest}", party, data).status_code == 200
    assert send("GET", f"/blobs/{digest}", party).getvalue() == data
    assert send("GET", f"/blobs/{story.model.file_sha256}", other).getvalue() == b"model"
    expect_problem(send("GET", f"/blobs/{digest}", other), 404, "not-found")
    before = rows()
    expect_problem(send("PUT", f"/blobs/{'00' * 32}", party, data), 422, "bad-blob")
    expect_problem(send("PUT", "/blobs/name", party, data), 422, "bad-blob")
    expect_problem(send("PUT", f"/blobs/{digest}", None, data), 401, "not-authenticated")
    stranger = Party(party.row, "")
    expect_problem(send("PUT", f"/blobs/{digest}", stranger, data), 401, "authentication-failed")
    url = f"http://testserver{API}/blobs/{digest}"
    for other_body, signed in (
        (b"other", httpsig.sign_request("PUT", url, data, party.key)),
        (data, httpsig.sign_request("GET", url, data, party.key)),
        (data, httpsig.sign_request("PUT", url + "0", data, party.key)),
        (data, httpsig.sign_request("PUT", url, b"", party.key)),
    ):
        response = Browser().generic("PUT", f"{API}/blobs/{digest}", other_body, headers=signed)
        expect_problem(response, 401, "authentication-failed")
    assert rows() == before


def test_uploads_have_a_limit(story: Story, settings: LazySettings) -> None:
    party = story.party(committed=False)
    settings.LEDGER_BLOB_LIMIT = 10
    digest = hashlib.sha256(b"x" * 11).hexdigest()
    expect_problem(send("PUT", f"/blobs/{digest}", party, b"x" * 11), 413, "too-large")


def test_nobody_sees_anothers_orders(story: Story) -> None:
    one, two = story.party("one"), story.party("two")
    story.masked_window()
    mine = models.Order.objects.get(client_model__client=one.row)
    listed = send("GET", "/orders", two).json()["items"]
    assert [line["client"] for line in listed] == [two.uuid]
    expect_problem(send("GET", f"/orders/{mine.uuid}", two), 404, "not-found")
    expect_problem(send("GET", f"/orders/{mine.uuid}"), 401, "not-authenticated")
    response = send("POST", "/statements", body=two.sign(two.claim(mine)))
    expect_problem(response, 422, "wrong-reference")


OFFICERS = [
    ("GET", "/clients"),
    ("POST", "/clients"),
    ("GET", f"/clients/{NOBODY}"),
    ("POST", f"/clients/{NOBODY}/token"),
    ("POST", f"/clients/{NOBODY}/keys/{'ab' * 32}/revoke"),
    ("POST", f"/clients/{NOBODY}/retire"),
    ("POST", "/requests"),
    ("GET", f"/requests/{NOBODY}"),
    ("POST", f"/requests/{NOBODY}/decision"),
    ("POST", "/windows"),
    ("GET", f"/windows/{NOBODY}"),
    ("POST", f"/requests/{NOBODY}/erase"),
    ("POST", f"/clients/{NOBODY}/reenrol"),
    ("POST", f"/windows/{NOBODY}/close"),
    ("POST", f"/windows/{NOBODY}/certify"),
    ("GET", f"/windows/{NOBODY}/bundle"),
    ("GET", "/bundle?first=0&last=0"),
]


@pytest.mark.parametrize(("method", "path"), OFFICERS)
def test_officers_only(story: Story, method: str, path: str) -> None:
    before = rows()
    response = send(method, path)
    expect_problem(response, 401, "not-authenticated")
    assert "Basic" in response.headers["WWW-Authenticate"]
    expect_problem(send(method, path, story.party(committed=False)), 401, "not-authenticated")
    visitor = Browser()
    visitor.force_login(User.objects.create(username="visitor"))
    expect_problem(visitor.generic(method, API + path), 403, "permission-denied")
    assert rows() == before | {"Client": 1, "ClientKey": 1, "Event": 2, "LogEntry": 3, "LogNode": 4}


@pytest.mark.parametrize(("method", "path"), [line for line in OFFICERS if NOBODY in line[1]])
def test_unknown_things(officer: Browser, method: str, path: str) -> None:
    lost = {"reason": "lost"}
    bodies = {"erase": {"reason": "subject-asked"}, "reenrol": lost, "revoke": lost, "token": {}}
    body = json.dumps(bodies.get(path.rsplit("/", 1)[1], {"decision": "approved"}))
    response = officer.generic(method, API + path, body, content_type="application/json")
    expect_problem(response, 404, "not-found")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/clients", {}, "bad-input"),
        ("/clients", {"name": 3}, "bad-input"),
        ("/clients", {"name": " "}, "bad-name"),
        ("/clients", {"name": "a", "extra": 1}, "bad-input"),
        ("/clients", {"name": "a", "days": 0}, "bad-days"),
        ("/clients", {"name": "a", "days": 366}, "bad-days"),
        ("/clients", [], "bad-input"),
        ("/requests", {"regulation": "gdpr"}, "bad-input"),
        ("/requests", {"regulation": "x", "subject": "a", "forget": FORGET}, "bad-regulation"),
        ("/requests", {"regulation": "gdpr", "subject": "a", "forget": {}}, "bad-forget"),
        (
            "/requests",
            {"regulation": "gdpr", "subject": "a", "forget": FORGET, "receivedAt": "2026-01-01T00:00:00"},
            "bad-time",
        ),
        ("/windows", {"model": "x", "requests": []}, "bad-input"),
        ("/windows", {"model": NOBODY, "requests": []}, "bad-input"),
        ("/windows", {"model": NOBODY, "requests": ["x"]}, "bad-input"),
    ],
)
def test_officers_mistakes(officer: Browser, path: str, body: Any, code: str) -> None:
    before = rows()
    response = officer.post(API + path, json.dumps(body), content_type="application/json")
    expect_problem(response, 422, code)
    assert rows() == before


def test_bodies_that_are_no_json(officer: Browser) -> None:
    before = rows()
    response = officer.post(f"{API}/clients", "{", content_type="application/json")
    expect_problem(response, 400, "parse-error")
    response = officer.post(f"{API}/clients", b"\xff\xfe", content_type="application/json")
    expect_problem(response, 400, "parse-error")
    response = officer.post(f"{API}/clients", "name=a", content_type="application/x-www-form-urlencoded")
    expect_problem(response, 415, "unsupported-media-type")
    assert rows() == before


def test_sessions_need_the_csrf_token(officer: Browser) -> None:
    browser = Browser(enforce_csrf_checks=True)
    browser.cookies = officer.cookies
    response = browser.post(f"{API}/clients", '{"name": "a"}', content_type="application/json")
    expect_problem(response, 403, "permission-denied")


def test_officers_may_use_a_password(db: None) -> None:
    User.objects.create_superuser("officer", password="a long enough pass phrase")
    for password, status in (("a long enough pass phrase", 201), ("wrong", 401)):
        basic = base64.b64encode(f"officer:{password}".encode()).decode()
        response = Browser().post(
            f"{API}/clients",
            '{"name": "a"}',
            content_type="application/json",
            headers={"Authorization": f"Basic {basic}"},
        )
        assert response.status_code == status


class TestStatements:
    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"payload": "AA=="}', b"\xff", b'{"a": NaN}'])
    def test_no_envelope(self, db: None, body: bytes) -> None:
        expect_problem(send("POST", "/statements", body=body), 400, "bad-envelope")

    def test_too_large(self, db: None) -> None:
        expect_problem(send("POST", "/statements", body=b" " * 70_000), 413, "too-large")

    def test_every_cut_and_every_changed_byte(self, story: Story) -> None:
        party = story.party(committed=False)
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        body, before = party.sign(said), rows()
        for at in range(0, len(body), 17):
            for bad in (body[:at], body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]):
                models.RateBucket.objects.all().delete()  # or the rate limit would answer
                response = send("POST", "/statements", body=bad)
                assert response.status_code in (400, 401, 422), (at, response.content)
                assert response.headers["Content-Type"] == "application/problem+json"
        assert rows() == before

    def test_what_only_the_provider_says(self, story: Story) -> None:
        party = story.party()
        order = story.masked_window().orders.get()
        for entry in (order.entry, order.window.mask_entry, story.circuit.entry):
            body = party.sign(log.statement(entry).predicate)
            expect_problem(send("POST", "/statements", body=body), 422, "wrong-kind")

    def test_another_payload(self, story: Story) -> None:
        party = story.party(committed=False)
        body = dsse.sign(b'{"_type": "x"}', party.key).to_bytes()
        expect_problem(send("POST", "/statements", body=body), 422, "bad-statement")

    def test_enrolment_needs_its_token(self, db: None) -> None:
        party = Party(*invite_client("a"))
        expect_problem(send("POST", "/statements", body=party.enrolment()), 401, "unknown-token")

    def test_keys_that_are_not_enrolled(self, story: Story) -> None:
        party = story.party()
        order = story.masked_window().orders.get()
        body = sign_statement(party.claim(order), keys.generate()).to_bytes()
        expect_problem(send("POST", "/statements", body=body), 401, "unknown-key")

    def test_a_second_claim_while_one_is_pending(self, story: Story) -> None:
        party = story.party()
        order = story.masked_window().orders.get()
        claims.accept_claim(party.sign(party.claim(order)))
        before = rows()
        claim = party.claim(order, other_tensors_sha256=OTHER)
        assert rows() == before | {"Blob": before["Blob"] + 2}
        expect_problem(send("POST", "/statements", body=party.sign(claim)), 409, "claim-pending")
        assert models.Claim.objects.count() == 1

    def test_too_many(self, db: None) -> None:
        codes = [send("POST", "/statements", body=b"{").status_code for _ in range(121)]
        assert codes == [400] * 120 + [429]
        response = send("POST", "/statements", body=b"{")
        assert "wait" in expect_problem(response, 429, "too-many-requests")
        assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/windows/not-a-uuid", "/log/entries/-1"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_other_addresses(db: None, method: str, path: str) -> None:
    expect_problem(send(method, path or "/"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/statements"), ("GET", "/statements"), ("PUT", "/releases"), ("POST", "/log/checkpoint")],
)
def test_other_methods(db: None, method: str, path: str) -> None:
    response = send(method, path)
    assert method in expect_problem(response, 405, "method-not-allowed")
    assert "Allow" in response.headers


def test_other_hosts(db: None) -> None:
    response = Browser().get(f"{API}/releases", headers={"Host": "evil.example"})
    expect_problem(response, 400, "bad-request")


def test_our_own_failures(story: Story, officer: Browser) -> None:
    """A broken installation: a mask is missing on disk. The caller learns that it failed, and nothing else."""
    story.party()
    window = story.masked_window()
    blobs.path(window.mask_sha256).unlink()
    log.publish_checkpoint()
    before = rows()
    officer.raise_request_exception = False
    response = officer.get(f"{API}/windows/{window.uuid}/bundle")
    assert window.mask_sha256 not in expect_problem(response, 500, "server-error")
    assert rows() == before


def test_a_full_disk(story: Story) -> None:
    """The kernel takes no more than 50,000 bytes. Nothing is left behind; the same request is right later."""
    party, data = story.party("one", committed=False), os.urandom(100_000)
    digest = hashlib.sha256(data).hexdigest()
    folder, before = blobs.path(digest).parent, resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = set(folder.glob("*"))  # of tests before this one
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        answer = send("PUT", f"/blobs/{digest}", party, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "send the same again" in expect_problem(answer, 503, "storage-unavailable")
    assert answer.headers["Retry-After"] == "10"
    assert set(folder.glob("*")) == kept
    assert send("PUT", f"/blobs/{digest}", party, data).status_code == 201


def test_pages_for_people_stay_pages(db: None) -> None:
    response = Browser().get("/nothing")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
