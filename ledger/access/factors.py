"""Second factors: codes of an authenticator app (TOTP, RFC 6238), passkeys (WebAuthn level 3), recovery codes.

Secrets of apps are sealed in the vault; of recovery codes only hashes are kept. Wrong codes are counted
per account, in the buckets of `ledger.access.rates`: guessing six digits needs a password first, and then years.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any, Final

import webauthn
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from webauthn.helpers import options_to_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from ledger import logs, vault
from ledger.access import rates
from ledger.models import RecoveryCode, SecondFactor
from ledger.workflow.actors import officer
from ledger.workflow.events import record

STEP: Final = 30  # seconds that a code is good for; the one before and the one after are taken too
DIGITS: Final = 6
SECRET_BYTES: Final = 20  # RFC 4226 section 4, R6
RECOVERY_CODES: Final = 10
SCOPE: Final = "bad-codes"


class FactorError(ValueError):
    """A factor that is refused; the text says why, for the person who tries."""


def required() -> bool:
    """Whether accounts must have a second factor: LEDGER_SECOND_FACTOR."""
    return bool(settings.LEDGER_SECOND_FACTOR)


def needed(user: Any) -> bool:
    """Whether this account's password alone opens nothing. A session's account brings its answer along."""
    known = getattr(user, "enrolled", None)
    return required() or (SecondFactor.objects.filter(user=user).exists() if known is None else known)


def new_secret() -> bytes:
    """A secret for an authenticator app."""
    return secrets.token_bytes(SECRET_BYTES)


def totp_address(secret: bytes, name: str) -> str:
    """What the app reads from the picture: an otpauth address."""
    return _totp(secret).get_provisioning_uri(name, settings.LEDGER_ORIGIN)


@transaction.atomic
def add_totp(user: Any, secret: bytes, code: str, label: str) -> SecondFactor:
    """Take an authenticator app whose code shows that it has the secret. Raises FactorError if it does not."""
    step = _step_of(secret, code, after=0)
    if step is None:
        raise FactorError(
            _("that is not the code that the app shows for this secret: check the clock of the device")
        )
    sealed = vault.seal({"totp": secret.hex()})
    row = SecondFactor.objects.create(
        user=user, kind=SecondFactor.Kind.TOTP, label=label, secret=sealed, last_step=step
    )
    _tell("account.factor-added", user, user)
    return row


def check_code(user: Any, code: str) -> None:
    """Take a code of an app or a recovery code, once. Raises FactorError: wrong, used, or too many were wrong."""
    wait = rates.exhausted(SCOPE, str(user.pk))
    if wait is not None:
        raise FactorError(
            _("too many wrong codes for this account: try again in %(wait)s seconds") % {"wait": f"{wait:.0f}"}
        )
    code = "".join(code.split()).replace("-", "").lower()
    if not (_use_totp(user, code) or _use_recovery(user, code)):
        rates.spend(SCOPE, str(user.pk))
        logs.AUDIT.warning(
            "a second factor was refused", extra={"event": "factor.refused", "who": f"officer {user.pk}"}
        )
        raise FactorError(_("this code is wrong, or was used before: every code is good once"))


@transaction.atomic
def new_recovery_codes(user: Any) -> list[str]:
    """Ten new ones, shown once; all earlier ones are void."""
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(code)) for code in codes)
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes]


@transaction.atomic
def remove(factor: SecondFactor) -> None:
    """The owner gives a factor up; the last one only where none is required, and its recovery codes with it."""
    last = not SecondFactor.objects.filter(user=factor.user).exclude(pk=factor.pk).exists()
    if last and required():
        raise FactorError(_("this is the last one, and a second factor is required: add another one first"))
    if last:
        RecoveryCode.objects.filter(user=factor.user).delete()
    _destroy(factor)
    _tell("account.factor-removed", factor.user, factor.user)


@transaction.atomic
def reset(user: Any, by: Any) -> None:
    """An administrator takes all factors from somebody who has lost them; that is recorded."""
    for factor in SecondFactor.objects.filter(user=user):
        _destroy(factor)
    RecoveryCode.objects.filter(user=user).delete()
    _tell("account.factors-reset", user, by)


def registration(user: Any, host: str) -> tuple[str, bytes]:
    """What the browser needs to make a passkey, as JSON, and the challenge to remember."""
    options = webauthn.generate_registration_options(
        rp_id=host, rp_name=settings.LEDGER_ORIGIN, user_name=user.get_username(), user_id=str(user.pk).encode(),
        exclude_credentials=_known(user),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
    )  # fmt: skip
    return options_to_json(options), options.challenge


@transaction.atomic
def add_passkey(user: Any, answer: str, challenge: bytes, host: str, origin: str, label: str) -> SecondFactor:
    """Take a passkey that the browser has made. Raises FactorError if its answer does not fit the challenge."""
    try:
        made = webauthn.verify_registration_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=host, expected_origin=origin
        )
    except (WebAuthnException, ValueError) as error:
        raise FactorError(_("this passkey cannot be taken: %(error)s") % {"error": error}) from error
    row = SecondFactor.objects.create(
        user=user, kind=SecondFactor.Kind.PASSKEY, label=label, credential_id=made.credential_id,
        public_key=made.credential_public_key, sign_count=made.sign_count,
    )  # fmt: skip
    _tell("account.factor-added", user, user)
    return row


def authentication(user: Any, host: str) -> tuple[str, bytes]:
    """What the browser needs to use one of the account's passkeys, as JSON, and the challenge to remember."""
    options = webauthn.generate_authentication_options(rp_id=host, allow_credentials=_known(user))
    return options_to_json(options), options.challenge


@transaction.atomic
def check_passkey(user: Any, answer: str, challenge: bytes, host: str, origin: str) -> None:
    """Take a passkey's signature. Raises FactorError: another account's, another site's, or a copied device."""
    try:
        name = webauthn.helpers.parse_authentication_credential_json(answer).raw_id
    except (WebAuthnException, ValueError) as error:
        raise FactorError(_("the browser's answer is no passkey's")) from error
    row = SecondFactor.objects.select_for_update().filter(user=user, credential_id=name).first()
    if row is None:
        raise FactorError(_("this passkey is none of this account's"))
    try:
        seen = webauthn.verify_authentication_response(
            credential=answer, expected_challenge=challenge, expected_rp_id=host, expected_origin=origin,
            credential_public_key=bytes(row.public_key or b""), credential_current_sign_count=row.sign_count,
        )  # fmt: skip
    except (WebAuthnException, ValueError) as error:
        raise FactorError(_("this passkey is refused: %(error)s") % {"error": error}) from error
    row.sign_count, row.last_used_at = seen.new_sign_count, timezone.now()
    row.save(update_fields=["sign_count", "last_used_at"])


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP)  # noqa: S303 - what all apps use; HMAC-SHA1 is not broken


def _step_of(secret: bytes, code: str, after: int) -> int | None:
    """The time step that the code belongs to, if that is now or next to it and later than `after`."""
    now = int(time.time()) // STEP
    for step in (now - 1, now, now + 1):
        try:
            _totp(secret).verify(code.encode(), step * STEP)
        except InvalidToken:
            continue
        return step if step > after else None
    return None


@transaction.atomic
def _use_totp(user: Any, code: str) -> bool:
    """Whether an app of the account shows this code now. The row is locked: two requests cannot both use it."""
    rows = SecondFactor.objects.select_for_update(of=("self",)).select_related("secret")
    for row in rows.filter(user=user, kind=SecondFactor.Kind.TOTP):
        assert row.secret is not None
        step = _step_of(bytes.fromhex(vault.unseal(row.secret)["totp"]), code, row.last_step)
        if step is not None:
            row.last_step, row.last_used_at = step, timezone.now()
            row.save(update_fields=["last_step", "last_used_at"])
            return True
    return False


def _use_recovery(user: Any, code: str) -> bool:
    """Whether this is an unused recovery code; a conditional UPDATE, so that it is good once."""
    unused = RecoveryCode.objects.filter(user=user, digest=_digest(code), used_at=None)
    return unused.update(used_at=timezone.now()) == 1


def _known(user: Any) -> list[PublicKeyCredentialDescriptor]:
    rows = SecondFactor.objects.filter(user=user, kind=SecondFactor.Kind.PASSKEY)
    return [PublicKeyCredentialDescriptor(id=bytes(row.credential_id or b"")) for row in rows]


def _destroy(factor: SecondFactor) -> None:
    sealed = factor.secret
    factor.delete()
    if sealed is not None:
        vault.erase(sealed)


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _tell(kind: str, user: Any, by: Any) -> None:
    record(kind, actor=officer(by), data={"account": user.pk})
