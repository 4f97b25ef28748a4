import copy
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.statements import dsse, predicates
from ledger.statements.dsse import Envelope
from ledger.statements.errors import EnvelopeError, SignatureError, StatementError
from ledger.statements.predicates import PREDICATES, ClientEnrolment, Mask, ModelRelease
from ledger.statements.statement import (
    Statement,
    default_subject,
    open_statement,
    predicate_json,
    sign_statement,
)
from tests.ledger.statements.samples import REF, SAMPLES, SHA, UUID

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
ENROLMENT = ClientEnrolment(client=UUID, public_key=SHA)
PAYLOAD = Statement(ENROLMENT, (("client", SHA),)).encode()

each = pytest.mark.parametrize("predicate", SAMPLES, ids=lambda predicate: predicate.slug)


def altered(change):
    members = json.loads(PAYLOAD)
    change(members)
    return json.dumps(members).encode()


def test_there_is_a_sample_of_each_kind():
    assert {predicate.type_uri() for predicate in SAMPLES} == set(PREDICATES)


@each
def test_sign_and_open(predicate):
    envelope = Envelope.parse(sign_statement(predicate, KEY).to_bytes())
    statement = open_statement(envelope, KEY.public_key())
    assert statement.predicate == predicate
    assert type(statement.predicate) is type(predicate)
    assert statement.predicate_type == predicate.type_uri()
    assert statement.encode() == envelope.payload


@each
def test_default_subject(predicate):
    [(name, digest)] = open_statement(sign_statement(predicate, KEY), KEY.public_key()).subjects
    payload = json.loads(sign_statement(predicate, KEY).payload)
    canonical = json.dumps(payload["predicate"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert name == predicate.slug
    assert digest == hashlib.sha256(canonical.encode()).hexdigest() == default_subject(predicate)[1]


def assert_camel_case(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            assert "_" not in name
            assert_camel_case(inner)
    if isinstance(value, list):
        for inner in value:
            assert_camel_case(inner)


@each
def test_the_wire_is_camel_case_and_times_end_in_z(predicate):
    members = predicate_json(predicate)
    if not isinstance(predicate, Mask | ModelRelease):  # these carry free-form members
        assert_camel_case(members)
    for name, value in members.items():
        if name.endswith("At"):
            assert value == "2026-01-31T12:00:00Z"


@each
def test_additions_are_ignored(predicate):
    payload = json.loads(sign_statement(predicate, KEY).payload)
    payload["predicate"]["aLaterField"] = {"x": 1}
    payload["aLaterMember"] = True
    payload["subject"][0]["uri"] = "urn:x"
    payload["subject"][0]["digest"]["sha512"] = "00"
    assert Statement.decode(json.dumps(payload).encode()).predicate == predicate


@each
def test_a_missing_field_is_named(predicate):
    payload = json.loads(sign_statement(predicate, KEY).payload)
    required = [field.alias for field in type(predicate).model_fields.values() if field.is_required()]
    assert required
    for name in required:
        without = copy.deepcopy(payload)
        del without["predicate"][name]
        with pytest.raises(StatementError, match=f"the {predicate.slug} predicate is not valid: {name}: field req"):
            Statement.decode(json.dumps(without).encode())


@each
def test_a_wrong_type_is_refused_for_every_field(predicate):
    payload = json.loads(sign_statement(predicate, KEY).payload)
    for name in payload["predicate"]:
        for wrong in (True, "☃", 5.5, [[]], {"x": 1}):
            if isinstance(wrong, dict) and name in {"recipe", "architecture", "policy"}:
                continue
            if wrong is True and name in {"complete", "personalData"}:
                continue
            free = {"name", "engine", "checkpoint", "detection", "dataset"}
            if isinstance(wrong, str) and (
                name in free or (name == "reason" and "decision" in payload["predicate"])
            ):
                continue
            changed = copy.deepcopy(payload)
            changed["predicate"][name] = wrong
            with pytest.raises(StatementError, match=f"is not valid: {name}"):
                Statement.decode(json.dumps(changed).encode())


def test_encoding_is_canonical():
    assert (
        b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"client":"%s","publicKey":"%s"},'
        b'"predicateType":"urn:unlearning-ledger:predicate:client-enrolment:v1",'
        b'"subject":[{"digest":{"sha256":"%s"},"name":"client"}]}'
    ) % (UUID.encode(), SHA.encode(), SHA.encode()) == PAYLOAD


def test_subjects():
    subjects = [("model.safetensors", SHA), ("modèle", "ab" * 32)]
    statement = open_statement(sign_statement(ENROLMENT, KEY, subjects), KEY.public_key())
    assert statement.subjects == tuple(subjects)


@pytest.mark.parametrize(
    "subjects",
    [[], [("", SHA)], [("x" * 301, SHA)], [("x", SHA.upper())], [("x", SHA[1:])], [("x", SHA)] * 101],
)
def test_unusable_subjects(subjects):
    with pytest.raises(StatementError, match="subject"):
        sign_statement(ENROLMENT, KEY, subjects)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "the statement is not strict JSON"),
        (b"\xff", "the statement is not strict JSON"),
        (b"[]", "has _type 'https://in-toto.io/Statement/v1', got 'list'"),
        (b"{}", "has _type .* got None"),
        (altered(lambda m: m.update(_type="https://in-toto.io/Statement/v0.1")), "got '.*v0.1'"),
        (altered(lambda m: m.update(predicateType="urn:x")), "no predicateType 'urn:x', only urn:unlearning"),
        (altered(lambda m: m.update(predicateType=["urn:x"])), "no predicateType"),
        (
            altered(lambda m: m.update(predicateType=ENROLMENT.type_uri()[:-1] + "2")),
            "no predicateType .*:v2'",
        ),
        (altered(lambda m: m.pop("predicateType")), "no predicateType None"),
        (altered(lambda m: m.pop("predicate")), "predicate is a JSON object, got None"),
        (altered(lambda m: m.update(predicate=[])), r"predicate is a JSON object, got \[\]"),
        (altered(lambda m: m.pop("subject")), "subject is a list, got None"),
        (altered(lambda m: m.update(subject=[])), "1 to 100 subjects, got 0"),
        (altered(lambda m: m.update(subject=m["subject"] * 101)), "1 to 100 subjects, got 101"),
        (altered(lambda m: m.update(subject=["x"])), "a subject has a name and a digest"),
        (altered(lambda m: m["subject"][0].pop("name")), "a subject has a name and a digest"),
        (altered(lambda m: m["subject"][0].update(digest={"sha512": "00"})), "a subject has a name"),
        (
            altered(lambda m: m["subject"][0]["digest"].update(sha256="00")),
            "64 lower-case hex digits, got '00'",
        ),
        (altered(lambda m: m["predicate"].update(publicKey="zz")), "publicKey: .* got 'zz'"),
        (PAYLOAD.replace(b'"client":"0', b'"client":"0","client":"0'), "'client' occurs twice"),
    ],
)
def test_strict(payload, complaint):
    with pytest.raises(StatementError, match=complaint) as raised:
        Statement.decode(payload)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1200


def test_snake_case_is_not_a_second_spelling():
    with pytest.raises(StatementError, match="publicKey: field required"):
        Statement.decode(altered(lambda m: m["predicate"].update(public_key=m["predicate"].pop("publicKey"))))
    both = Statement.decode(altered(lambda m: m["predicate"].update(public_key="00" * 32)))
    assert both.predicate == ENROLMENT


@pytest.mark.parametrize("received", ["2026-01-31T12:00:00", "2026-01-31", "yesterday", 1769860800, None])
def test_times_need_a_zone(received):
    [request] = [sample for sample in SAMPLES if sample.slug == "deletion-request"]
    payload = json.loads(sign_statement(request, KEY).payload)
    payload["predicate"]["receivedAt"] = received
    with pytest.raises(StatementError, match="receivedAt"):
        Statement.decode(json.dumps(payload).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_cleanly(payload):
    with pytest.raises(StatementError):
        Statement.decode(payload)


class TestOpen:
    def test_another_key(self):
        with pytest.raises(SignatureError):
            open_statement(sign_statement(ENROLMENT, KEY), OTHER.public_key())

    def test_the_signature_comes_first(self):
        """What an unknown key says is not even parsed."""
        with pytest.raises(SignatureError):
            open_statement(dsse.sign(b"not a statement", KEY), OTHER.public_key())

    def test_another_payload_type(self):
        with pytest.raises(StatementError, match=r"payloadType 'application/vnd\.in-toto\+json', got 'text/plain'"):
            open_statement(dsse.sign(PAYLOAD, KEY, "text/plain"), KEY.public_key())

    def test_what_was_verified_is_what_is_parsed(self):
        envelope = sign_statement(ENROLMENT, KEY)
        swapped = Envelope(PAYLOAD, envelope.payload_type, envelope.signatures)
        with pytest.raises(SignatureError):
            open_statement(swapped, KEY.public_key())


class TestFreeFormMembers:
    def mask(self, recipe):
        return Mask(
            window=UUID, closed=REF, model=REF, mask_sha256=SHA, masked=1, total=2, recipe=recipe
        )  # fmt: skip

    @given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
    def test_numbers_survive(self, number, integer):
        predicate = self.mask({"a": number, "b": [integer]})
        assert open_statement(sign_statement(predicate, KEY), KEY.public_key()).predicate == predicate

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
    def test_what_json_cannot_say(self, value):
        with pytest.raises(StatementError, match="JSON"):
            sign_statement(self.mask({"x": value}), KEY)

    def test_too_large_for_a_leaf(self):
        with pytest.raises(EnvelopeError, match="at most 65535 bytes"):
            sign_statement(self.mask({"x": "x" * 50_000}), KEY)


def test_type_uris_are_versioned():
    for uri, kind in PREDICATES.items():
        assert uri == f"urn:unlearning-ledger:predicate:{kind.slug}:v1"
        assert kind.__name__ in predicates.__all__
