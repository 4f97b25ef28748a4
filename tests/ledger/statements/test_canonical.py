import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.statements import canonical
from ledger.statements.errors import StatementError

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


@given(values)
def test_round_trip(value):
    data = canonical.dumps(value)
    assert canonical.loads(data, "it") == value
    assert canonical.dumps(canonical.loads(data, "it")) == data


@given(values)
def test_spelling_of_the_input_does_not_matter(value):
    loose = json.dumps(value, indent=3, ensure_ascii=True).encode()
    assert canonical.dumps(canonical.loads(loose, "it")) == canonical.dumps(value)


def test_spelling():
    assert (
        canonical.dumps({"b": [1, 2.5, None, True], "a": "é\n/"}) == '{"a":"é\\n/","b":[1,2.5,null,true]}'.encode()
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"9" * 5000,
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b"{'a': 1}",
        b"[1,]",
        b"01",
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"[" * 20_000 + b"]" * 20_000,
        '"é"'.encode("utf-16"),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_strict(data):
    with pytest.raises(StatementError, match=r"^the thing is not strict JSON"):
        canonical.loads(data, "the thing")


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": "\ud800"}])
def test_what_has_no_canonical_form(value):
    with pytest.raises(StatementError, match="no canonical JSON"):
        canonical.dumps(value)
