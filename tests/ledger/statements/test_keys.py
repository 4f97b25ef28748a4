import hashlib
import os
import stat

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ledger.statements import keys
from ledger.statements.errors import KeyMaterialError

P = 2**255 - 19


def test_save_and_load(tmp_path):
    key, path = keys.generate(), tmp_path / "key.pem"
    keys.save_private(key, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert keys.public_hex(keys.load_private(path)) == keys.public_hex(key)


def test_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0)
    try:
        keys.save_private(keys.generate(), tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_never_overwritten(tmp_path):
    path = tmp_path / "key.pem"
    keys.save_private(keys.generate(), path)
    before = path.read_bytes()
    with pytest.raises(KeyMaterialError, match="never overwritten"):
        keys.save_private(keys.generate(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o602, 0o660, 0o777])
def test_others_may_not_use_it(tmp_path, mode):
    path = tmp_path / "key.pem"
    keys.save_private(keys.generate(), path)
    path.chmod(mode)
    with pytest.raises(KeyMaterialError, match=f"{mode:04o}, set it to 0600"):
        keys.load_private(path)


def test_missing(tmp_path):
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        keys.load_private(tmp_path / "none.pem")
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        keys.load_private(tmp_path)


def other_contents():
    ed25519, p256 = keys.generate(), ec.generate_private_key(ec.SECP256R1())
    password = BestAvailableEncryption(b"password")
    return {
        "empty": b"",
        "text": b"hello",
        "cut": ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())[:60],
        "der": ed25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "encrypted": ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password),
        "another kind": p256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


@pytest.mark.parametrize(("name", "contents"), other_contents().items(), ids=list(other_contents()))
def test_other_files(tmp_path, name, contents):
    path = tmp_path / "key.pem"
    path.write_bytes(contents)
    path.chmod(0o600)
    with pytest.raises(KeyMaterialError, match="Ed25519" if name == "another kind" else "unencrypted PEM"):
        keys.load_private(path)


def test_names():
    key = keys.generate()
    raw = key.public_key().public_bytes_raw()
    assert keys.public_hex(key) == keys.public_hex(key.public_key()) == raw.hex()
    assert keys.keyid(key) == keys.keyid(key.public_key()) == hashlib.sha256(raw).hexdigest()
    assert keys.public_from_hex(raw.hex()) == key.public_key()


@pytest.mark.parametrize(
    "text", ["", "ab", "AB" * 32, "0x" + "ab" * 31, "ab" * 33, " " + "ab" * 32, "ab" * 32 + "\n"]
)
def test_strict_hex(text):
    with pytest.raises(KeyMaterialError, match="64 lower-case hex digits"):
        keys.public_from_hex(text)


def small_order_encodings():
    """Every encoding of a point whose order divides 8, the non-canonical ones with them."""
    d = -121665 * pow(121666, -1, P) % P
    # Order 8: d·y⁴ + 2y² - 1 = 0, a quadratic in y² whose solvable root gives two y.
    root = pow(1 + d, (P + 3) // 8, P)
    root = root if root * root % P == (1 + d) % P else root * pow(2, (P - 1) // 4, P) % P
    ys = {0, 1, P - 1, P, P + 1}
    for square in ((-1 + root) * pow(d, -1, P) % P, (-1 - root) * pow(d, -1, P) % P):
        y = pow(square, (P + 3) // 8, P)
        y = y if y * y % P == square else y * pow(2, (P - 1) // 4, P) % P
        if y * y % P == square:
            ys |= {y, P - y}
    return sorted((y | sign << 255).to_bytes(32, "little").hex() for y in ys for sign in (0, 1))


def test_there_are_seven_y_of_small_order():
    assert len(small_order_encodings()) == 14


@pytest.mark.parametrize("text", small_order_encodings())
def test_keys_of_small_order_are_refused(text):
    with pytest.raises(KeyMaterialError, match="small order"):
        keys.public_from_hex(text)


def test_why_keys_of_small_order_are_refused():
    """Under the neutral point, R = neutral and S = 0 sign everything."""
    neutral = (1).to_bytes(32, "little")
    try:
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"any message")
    except (InvalidSignature, ValueError):
        pytest.skip("this OpenSSL refuses such keys itself")
