import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.statements import dsse, keys
from ledger.statements.dsse import Envelope, Signature, pae, sign
from ledger.statements.errors import EnvelopeError, SignatureError, StatementError

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
PAYLOAD = b'{"hello": "w\xc3\xb6rld?>~"}'
ENVELOPE = sign(PAYLOAD, KEY)
DATA = ENVELOPE.to_bytes()


def altered(**changes):
    members = json.loads(DATA)
    for name, value in changes.items():
        if value is None:
            del members[name]
        else:
            members[name] = value
    return json.dumps(members).encode()


class TestPae:
    def test_the_example_of_the_specification(self):
        expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        assert pae("http://example.com/HelloWorld", b"hello world") == expected

    def test_lengths_count_bytes(self):
        assert pae("é", b"\xc3\xb6 ") == b"DSSEv1 2 \xc3\xa9 3 \xc3\xb6 "
        assert pae("", b"") == b"DSSEv1 0  0 "

    @given(st.text(), st.binary(), st.text(), st.binary())
    def test_injective(self, kind, body, other_kind, other_body):
        try:
            same = pae(kind, body) == pae(other_kind, other_body)
        except UnicodeEncodeError:
            return
        assert same == ((kind, body) == (other_kind, other_body))


class TestSignAndVerify:
    def test_round_trip(self):
        assert Envelope.parse(DATA) == ENVELOPE
        assert Envelope.parse(DATA).to_bytes() == DATA
        assert Envelope.parse(DATA).verify(KEY.public_key()) == PAYLOAD
        assert ENVELOPE.keyid == keys.keyid(KEY)

    @given(st.binary(max_size=2000))
    def test_any_payload(self, payload):
        envelope = Envelope.parse(sign(payload, KEY).to_bytes())
        assert envelope.verify(KEY.public_key()) == payload

    def test_canonical_form(self):
        members = json.loads(DATA)
        assert list(members) == ["payload", "payloadType", "signatures"]
        assert json.dumps(members, separators=(",", ":")).encode() == DATA
        assert Envelope.parse(json.dumps(members, indent=2).encode()).to_bytes() == DATA

    def test_the_signature_is_over_the_pae(self):
        [signature] = ENVELOPE.signatures
        KEY.public_key().verify(signature.sig, pae(dsse.PAYLOAD_TYPE, PAYLOAD))

    def test_another_key(self):
        with pytest.raises(SignatureError, match=f"no valid signature by key {keys.keyid(OTHER)}"):
            ENVELOPE.verify(OTHER.public_key())

    def test_the_keyid_is_only_a_hint(self):
        [signature] = ENVELOPE.signatures
        lying = Envelope(PAYLOAD, dsse.PAYLOAD_TYPE, (Signature(keys.keyid(OTHER), signature.sig),))
        assert lying.verify(KEY.public_key()) == PAYLOAD
        with pytest.raises(SignatureError):
            lying.verify(OTHER.public_key())

    def test_the_type_is_signed(self):
        other = Envelope.parse(altered(payloadType="application/json"))
        with pytest.raises(SignatureError):
            other.verify(KEY.public_key())

    def test_several_signatures(self):
        both = Envelope(PAYLOAD, dsse.PAYLOAD_TYPE, (*sign(PAYLOAD, OTHER).signatures, *ENVELOPE.signatures))
        for key in (KEY, OTHER):
            assert Envelope.parse(both.to_bytes()).verify(key.public_key()) == PAYLOAD
        with pytest.raises(EnvelopeError, match="one signature, got 2"):
            _ = both.keyid

    @pytest.mark.parametrize("size", [0, 1, 63, 65])
    def test_signatures_of_the_wrong_size(self, size):
        forged = Envelope(PAYLOAD, dsse.PAYLOAD_TYPE, (Signature("", bytes(size)),))
        with pytest.raises(SignatureError, match="no key ID"):
            forged.verify(KEY.public_key())


@pytest.mark.parametrize("position", range(len(DATA)))
def test_every_byte_counts(position):
    """A changed byte is refused, or leaves what is signed alone: only the hint may differ."""
    for mask in (0x01, 0x20, 0x80):
        changed = DATA[:position] + bytes([DATA[position] ^ mask]) + DATA[position + 1 :]
        try:
            envelope = Envelope.parse(changed)
            assert envelope.verify(KEY.public_key()) == PAYLOAD
        except StatementError:
            continue
        assert envelope.payload_type == dsse.PAYLOAD_TYPE
        assert [s.sig for s in envelope.signatures] == [s.sig for s in ENVELOPE.signatures]


class TestBase64:
    payload = base64.b64encode(PAYLOAD).decode()

    def test_both_alphabets(self):
        url_safe = base64.urlsafe_b64encode(PAYLOAD).decode()
        sig = base64.urlsafe_b64encode(ENVELOPE.signatures[0].sig).decode()
        assert set(url_safe + sig) & set("-_")
        data = altered(payload=url_safe, signatures=[{"keyid": ENVELOPE.keyid, "sig": sig}])
        assert Envelope.parse(data).to_bytes() == DATA

    @pytest.mark.parametrize(
        "text",
        ["A", "AA", "AAA", "AA==AA==", "AAB=", "A A=", "AA==\n", "+_AA", "-/AA", "é===", "AAAA=", "===="],
    )
    def test_strict(self, text):
        with pytest.raises(EnvelopeError, match="payload is not"):
            Envelope.parse(altered(payload=text))
        with pytest.raises(EnvelopeError, match="sig is not"):
            Envelope.parse(altered(signatures=[{"sig": text}]))


class TestParse:
    def test_unknown_members_are_ignored(self):
        members = json.loads(DATA)
        members["extra"] = {"a": [1]}
        members["signatures"][0]["cert"] = "x"
        assert Envelope.parse(json.dumps(members).encode()) == ENVELOPE

    def test_keyid_may_be_missing(self):
        for keyid in ({}, {"keyid": None}, {"keyid": ""}):
            sig = json.loads(DATA)["signatures"][0]["sig"]
            envelope = Envelope.parse(altered(signatures=[{"sig": sig, **keyid}]))
            assert envelope.keyid == ""
            assert envelope.verify(KEY.public_key()) == PAYLOAD

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (b"", "strict JSON"),
            (b"[]", "JSON object, got list"),
            (b"null", "JSON object, got NoneType"),
            (b"{}", "no payloadType"),
            (b'{"payload": "", "payload": ""}', "'payload' occurs twice"),
            (DATA + b"x", "strict JSON"),
            (DATA[:-1], "strict JSON"),
            (altered(payload=None), "no payload"),
            (altered(payload=5), "str, got int"),
            (altered(payloadType=None), "no payloadType"),
            (altered(payloadType=""), "printable ASCII"),
            (altered(payloadType="a b"), "printable ASCII"),
            (altered(payloadType="application/é"), "printable ASCII"),
            (altered(payloadType="x" * 201), "printable ASCII"),
            (altered(signatures=None), "no signatures"),
            (altered(signatures={}), "list, got dict"),
            (altered(signatures=[]), "1 to 8 signatures, got 0"),
            (altered(signatures=[{"sig": "AAAA"}] * 9), "1 to 8 signatures, got 9"),
            (altered(signatures=["x"]), "JSON object, got str"),
            (altered(signatures=[{}]), "no sig"),
            (altered(signatures=[{"sig": "AAAA", "keyid": 5}]), "keyid is text"),
            (altered(signatures=[{"sig": "AAAA", "keyid": "é"}]), "keyid is text"),
            (altered(signatures=[{"sig": "AAAA", "keyid": "x" * 201}]), "keyid is text"),
        ],
    )
    def test_strict(self, data, complaint):
        with pytest.raises(EnvelopeError, match=complaint):
            Envelope.parse(data)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused_cleanly(self, data):
        with pytest.raises(EnvelopeError):
            Envelope.parse(data)


class TestSizeOfALeaf:
    overhead = len(sign(b"", KEY).to_bytes())
    largest = (dsse.MAX_ENVELOPE_BYTES - overhead) // 4 * 3

    def test_the_largest_fits(self):
        envelope = sign(bytes(self.largest), KEY)
        assert Envelope.parse(envelope.to_bytes()) == envelope

    def test_one_more_does_not(self):
        with pytest.raises(EnvelopeError, match="at most 65535 bytes"):
            sign(bytes(self.largest + 3), KEY)
        with pytest.raises(EnvelopeError, match="at most 65535 bytes, got 65536"):
            Envelope.parse(DATA + b" " * (65_536 - len(DATA)))

    def test_the_canonical_form_must_fit_too(self):
        """Without a key ID the bytes fit exactly; written out with an empty one they do not."""
        members = {
            "payload": base64.b64encode(bytes(self.largest)).decode(),
            "payloadType": "t",
            "signatures": [{"sig": base64.b64encode(bytes(64)).decode()}],
        }
        missing = dsse.MAX_ENVELOPE_BYTES - len(json.dumps(members, separators=(",", ":")))
        members["payloadType"] += "t" * missing
        data = json.dumps(members, separators=(",", ":")).encode()
        assert len(data) == dsse.MAX_ENVELOPE_BYTES
        with pytest.raises(EnvelopeError, match="this one has 65546"):
            Envelope.parse(data)
