"""Disks run full, memory runs out, clocks jump, and somebody restores an old copy."""

import contextlib
import resource
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.faults.tally import TALLY
from tests.services import Postgres
from tests.stories.nursery import ROOT

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(house):
    """A file system of its own for the files, with what was there."""
    files, kept = house.data / "blobs", house.data / "blobs.kept"
    files.rename(kept)
    files.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(files)], check=True)
    shutil.copytree(kept, files, dirs_exist_ok=True)
    yield files
    shutil.copytree(files, kept, dirs_exist_ok=True)
    subprocess.run(["umount", str(files)], check=True)
    files.rmdir()
    kept.rename(files)


def test_the_disk_of_the_files_is_full(house, walk, small_disk):
    """For ten seconds each time: agents come again, jobs wait and use up no attempts."""

    def fill(_walk):
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        threading.Timer(10, filler.unlink, kwargs={"missing_ok": True}).start()

    walk(house, "disk full", dict.fromkeys(("committing", "closed", "uploading"), fill))
    assert [path for path in small_disk.rglob(".*") if path.is_file()] == []


def test_a_worker_out_of_memory(house, walk):
    """RLIMIT_AS stops it: once while it masks, once while it verifies; the next attempt finds memory again."""

    def starve(_walk):
        for pid in house.children("prover"):
            with contextlib.suppress(psutil.Error, OSError):
                used = psutil.Process(pid).memory_info().vms
                resource.prlimit(pid, resource.RLIMIT_AS, (used, used))
        hungry.append(house.children("prover"))

    hungry = []
    walk(house, "out of memory", dict.fromkeys(("masking", "verifying"), starve))
    assert hungry


@pytest.fixture
def clock(house):
    """A function that sets how far web's and workers' clocks are off, in seconds, while they run."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: make fault-tools")
    library, offset = house.logs / "clock.so", house.logs / "clock"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    offset.write_bytes(struct.pack("=q", 0))
    house.restart(LD_PRELOAD=str(library), CLOCK_OFFSET_FILE=str(offset))

    def turn(seconds):
        with offset.open("rb+") as file:
            file.write(struct.pack("=q", seconds))

    yield turn
    house.restart()


def test_clocks_jump(house, walk, clock):
    """Web's and workers' clocks, for eight seconds each time; agents and database have the right time."""
    hour, days = 3600, 3 * 24 * 3600

    def jump(to):
        def act(_walk):
            clock(to)
            threading.Timer(8, clock, [0]).start()

        return act

    walk(
        house,
        "clock jumps",
        {"filed": jump(-hour), "masking": jump(days), "claimed": jump(-hour), "proved": jump(days)},
    )


def restored(house, backup, database):
    """What `manage.py restore` comes to, into another database."""
    return subprocess.run(
        [sys.executable, "manage.py", "restore", str(backup)],
        cwd=ROOT, env=house._environment() | {"DATABASE_URL": database.url}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_an_older_backup_is_restored(house, walk, place, release_folder):
    """The attempt: a copy of yesterday in the place of today's. The witness has seen more, and says so."""
    house.manage("backup", str(place / "backup"))
    walk(house, "life goes on", {})
    with TALLY.faults("older backup restored"), Postgres(place / "restored") as database:
        done = restored(house, place / "backup", database)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "restored, and they hold" in done.stdout
        assert "not the newest copy" in done.stderr
        assert "entries were lost" in done.stderr
    with TALLY.faults("newest backup restored"), Postgres(place / "again") as database:
        for name in house.commands:
            house.rest(name)
        house.manage("backup", str(place / "backup"))
        done = restored(house, place / "backup", database)
        assert done.returncode == 0, done.stdout + done.stderr
        house.wake()
