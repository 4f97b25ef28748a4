"""Statements are read by a fast reader of the usual spelling and by a strict one: JSON in which parsers differ.

Where the fast reader takes a statement the strict one must give the same; what the strict one refuses, the fast one
must not take.
"""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.statements.dsse import _canonical_base64
from ledger.statements.errors import StatementError
from ledger.statements.predicates import Mask
from ledger.statements.statement import Statement
from tests.ledger.statements.samples import REF, SHA, UUID

_MARK = b'"here"'
_MASK = Mask(
    window=UUID, closed=REF, model=REF, mask_sha256=SHA, masked=1, total=2, recipe={"k": "here"}
)  # fmt: skip
PAYLOAD = Statement(_MASK, (("mask", SHA),)).encode()


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


#: What stands as a value of a free-form member: bytes, and whether it is strict JSON.
VALUES = [
    *((b"%d" % number, True) for number in (0, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**64), 10**400)),
    *((text, True) for text in (
        b"-0", b"-0.0", b"0.0", b"1.0", b"1e5", b"1E5", b"1e+16", b"1e16", b"1e22", b"1e-7", b"5e-324", b"1e-400",
        b"0.1", b"0.1000000000000000055511151231257827", b"9007199254740993.0", b"123456789012345680000.0",
    )),
    *((text, False) for text in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"01", b"1.", b".5", b"+1",
                                 b"0x1", b"1_0", b"nan", b"'a'", b"tru", b"")),
    ('"\N{GRINNING FACE}"'.encode(), True), (b'"\\ud83d\\ude00"', True), (b'"\\u00e9"', True), (b'"\\/"', True),
    (b'"\\ud83d"', False), (b'"\\ude00"', False), (b'"\\ude00\\ud83d"', False), (b'"\xed\xa0\x80"', False),
    (b'"\xff"', False), (b'"\xc0\x80"', False), (b'"\\u0000"', True), (b'"\x00"', False), (b'"\x1f"', False),
    (b'"\x7f"', True), (b'"\\x41"', False), (b'"\xef\xbb\xbf"', True), (b'"\xe2\x80\xa8"', True),
    (b'{"a":1,"a":1}', False), (b'{"a":{"b":1,"b":2}}', False), (b'{"\\u0061":1,"a":1}', False),
    (b'{"b":1,"a":2}', True), (b'{ "a":1}', True), (b'{"a":1,}', False), (b"[1,]", False), (b"[1]//", False),
    # By code points the private-use character comes first, by UTF-16 the other.
    ('{"\ue000":1,"\U0001f600":2}'.encode(), True), ('{"\U0001f600":2,"\ue000":1}'.encode(), True),
    (b'{"\\ud800":1}', False), (b'{"":{"":0}}', True),
    (nested(60), True), (nested(100_000), False),
]  # fmt: skip


@pytest.mark.parametrize(("value", "is_json"), VALUES, ids=lambda one: repr(one)[:40])
def test_both_readers_say_the_same(value: bytes, is_json: bool) -> None:
    payload = PAYLOAD.replace(_MARK, value)
    fast = Statement._from_common(payload)
    try:
        strict = Statement._read(payload)
    except StatementError:
        assert not is_json
        assert fast is None
        with pytest.raises(StatementError):
            Statement.decode(payload)
        return
    assert is_json
    assert Statement.decode(payload) == strict
    if fast is not None:
        assert fast == strict
        assert fast.encode() == strict.encode(), "0.0 equals -0.0 and 0, as Python has it"


@pytest.mark.parametrize("depth", range(100, 300, 25))
def test_depths_at_which_parsers_give_up(depth: int) -> None:
    payload = PAYLOAD.replace(_MARK, nested(depth))
    fast = Statement._from_common(payload)
    try:
        strict = Statement._read(payload)
    except StatementError:
        assert fast is None
    else:
        assert fast in (None, strict)


def test_the_usual_spelling_takes_the_fast_way() -> None:
    assert Statement._from_common(PAYLOAD) == Statement._read(PAYLOAD)


_TEXTS = st.one_of(
    st.binary(max_size=9).map(base64.b64encode),
    st.text("AB+/=-_ \n", max_size=12).map(str.encode),
    st.tuples(
        st.binary(max_size=7).map(base64.b64encode), st.sampled_from([b"", b"=", b"==", b"\n", b"A", b" "])
    ).map(b"".join),
    st.sampled_from(
        [b"QQ==", b"QR==", b"QUI=", b"QUJ=", b"Q===", b"QQ=", b"QQ", b"=QQ=", b"Q=Q=", b"QQ==QQ==", b"AAAA="]
    ),
)


@given(_TEXTS)
def test_base64_is_taken_in_its_one_spelling(text: bytes) -> None:
    try:
        data = binascii.a2b_base64(text)
    except binascii.Error:
        wanted = None
    else:
        wanted = data if base64.b64encode(data) == text else None
    assert _canonical_base64(text) == wanted
