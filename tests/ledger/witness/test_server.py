"""Witnesses as processes behind HTTP: started as an auditor would, raced, killed."""

import socket
import subprocess
import sys
import threading

import pytest
from django.core.management import CommandError, call_command

from ledger.tlog.cosignature import CosignatureVerifier, read_cosignatures
from ledger.witness.core import Witness
from ledger.witness.store import FileHeads
from tests.ledger.witness.parts import (
    NOW,
    ORIGIN,
    ROOT,
    STOPPING,
    SmallLog,
    WitnessProcess,
    post,
    serving,
    signer,
    witness_in,
)

LOG = SmallLog(20)
OTHER = SmallLog(20, salt="other ")

PURE = """
import sys
import ledger.witness.__main__, ledger.witness.client
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"django", "torch", "ezkl", "celery", "psycopg"}), "ledger.settings" in sys.modules)
"""


@pytest.fixture
def process(tmp_path):
    started = []

    def start(**options):
        started.append(WitnessProcess(tmp_path, LOG.signer.vkey, **options))
        return started[-1]

    yield start
    for running in started:
        running.kill()


def test_neither_django_nor_a_database_is_needed():
    done = subprocess.run([sys.executable, "-c", PURE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"


def test_statuses_over_http(tmp_path):
    witness = witness_in(tmp_path, [LOG.signer], "w.example/p")
    with serving(witness) as url:
        assert post(url, LOG.request(0, 5)).status == 200
        conflict = post(url, LOG.request(0, 7))
        assert (conflict.status, conflict.body, conflict.content_type) == (409, b"5\n", "text/x.tlog.size")
        assert post(url, OTHER.request(5, 5)).body == b"5\n"
        assert post(url, OTHER.request(5, 9)).status == 422
        assert post(url, b"junk").status == 400
        assert post(url, LOG.request(5, 6), path="/elsewhere").status == 404
        assert post(url, b"x" * 70_000).status == 413
        (tmp_path / "heads").rename(tmp_path / "gone")
        (tmp_path / "heads").write_text("a file, no folder")
        broken = post(url, LOG.request(5, 6))
        assert (broken.status, b"its operator" in broken.body) == (500, True)


def test_many_requests_on_one_connection(tmp_path):
    import http.client

    with serving(witness_in(tmp_path, [LOG.signer], "w")) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        for old in range(3):
            connection.request("POST", "/add-checkpoint", LOG.request(old, old + 1))
            answer = connection.getresponse()
            assert (answer.status, answer.version) == (200, 11)
            answer.read()
        connection.putrequest("POST", "/add-checkpoint")
        connection.endheaders()
        assert connection.getresponse().status == 411
        connection.close()


def test_of_two_histories_at_once_one_is_cosigned(process):
    """Two processes on one folder, eight writers, each with its own history of the same sizes."""
    witnesses = [process(), process()]
    verifier = CosignatureVerifier.parse(witnesses[0].vkey)
    histories = [SmallLog(9, salt=f"{number} ") for number in range(8)]
    seen: dict[int, set[bytes]] = {}
    lock = threading.Lock()

    def write(number: int) -> None:
        log = histories[number]
        for old, size in ((0, 3), (3, 6), (6, 9)):
            answer = post(witnesses[number % 2].url, log.request(old, size))
            assert answer.status in {200, 409, 422}
            if answer.status == 200:
                assert read_cosignatures(answer.body.decode(), log.head(size).format(), [verifier])
                with lock:
                    seen.setdefault(size, set()).add(log.head(size).root)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(histories))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[3]
    assert {size: len(roots) for size, roots in seen.items()} == dict.fromkeys(seen, 1)


@pytest.mark.parametrize("before", [True, False])
def test_killed_between_check_and_answer(process, tmp_path, before):
    stopping = process(program=STOPPING.format(before=before))
    answers = []

    def ask() -> None:
        try:
            answers.append(post(stopping.url, LOG.request(0, 5)))
        except OSError:
            answers.append(None)

    asking = threading.Thread(target=ask)
    asking.start()
    stopping.read("stopped here")
    stopping.kill()
    asking.join()
    assert answers == [None], "a cosignature left the witness before it was safe"
    again = process()
    assert again.vkey == stopping.vkey
    if before:
        # Nothing was promised to anybody: either history may become the one.
        assert post(again.url, OTHER.request(0, 5)).status == 200
        assert post(again.url, LOG.request(5, 5)).status == 409
    else:
        # It was on disk, so it counts, though nobody has seen the cosignature.
        assert post(again.url, LOG.request(0, 5)).body == b"5\n"
        assert post(again.url, OTHER.request(5, 5)).status == 409
        assert post(again.url, LOG.request(5, 5)).status == 200
    assert len(list((tmp_path / "heads").iterdir())) == 1


def test_a_witness_that_trickles_is_cut_off():
    from ledger.witness.client import Kind, ask
    from ledger.witness.policy import Policy

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def trickle() -> None:
            connection, _ = slow.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"X-Slow: x\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        address = Policy.parse(f"http://127.0.0.1:{slow.getsockname()[1]} {signer().vkey}").witnesses[0]
        outcome = ask(address, LOG.note(5), 0, [], seconds=0.3)
        stop.set()
        thread.join()
    assert outcome.kind is Kind.UNREACHABLE


def test_the_command_line(tmp_path, capsys):
    from ledger.witness.__main__ import main

    assert main(["--state", str(tmp_path), "--name", "w.example/1"]) == 0
    vkey = capsys.readouterr().out.removeprefix("witness key: ").strip()
    assert CosignatureVerifier.parse(vkey).name == "w.example/1"
    call_command("witness", state=tmp_path)
    assert capsys.readouterr().out == f"witness key: {vkey}\n"
    with pytest.raises(CommandError, match="for ever"):
        call_command("witness", state=tmp_path, name="another")
    for options, complaint in (
        (["--listen", "127.0.0.1:0"], "at least one --log"),
        (["--log", LOG.signer.vkey, "--listen", "8000"], "HOST:PORT"),
        (["--log", LOG.signer.vkey, "--listen", "127.0.0.1:70000"], "HOST:PORT"),
        (["--log", vkey, "--listen", "127.0.0.1:0"], "0x01"),
    ):
        assert main(["--state", str(tmp_path), *options]) == 2
        assert complaint in capsys.readouterr().err
    witness = Witness(signer(), {ORIGIN: [LOG.signer.verifier]}, FileHeads(tmp_path), lambda: NOW)
    witness.add_checkpoint(LOG.request(0, 5))
    assert main(["--state", str(tmp_path), "--log", LOG.signer.vkey, "--listen", "127.0.0.1:0"]) == 2
    assert "damaged or another key's" in capsys.readouterr().err
