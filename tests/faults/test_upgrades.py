"""The next version migrates the database while this one writes.

The promise (docs/upgrading.md): nobody is stopped, nobody is refused, nothing is lost.
"""

import os
import subprocess
import sys

import pytest

from tests.faults.test_services import WRITER, await_more, check_written, script
from tests.stories.nursery import ROOT

pytestmark = pytest.mark.faults

#: Of a version that does not exist: a wider log, an index on it, a table beside it.
NEXT = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("ledger", "{last}")]
    operations = [
        migrations.AddField("logentry", "remark", models.TextField(null=True)),
        migrations.AddField("job", "priority", models.IntegerField(db_default=0)),
        AddIndexConcurrently("logentry", models.Index(fields=["created_at"], name="entries_by_time")),
        migrations.CreateModel("Remark", [("id", models.BigAutoField(primary_key=True))]),
    ]
"""


@pytest.fixture
def next_version(house, tmp_path):
    """A function that migrates to the next version, or back, as docs/upgrading.md says."""
    last = max(path.stem for path in (ROOT / "ledger" / "migrations").glob("0*.py"))
    package = tmp_path / "next_migrations"
    package.mkdir()
    (package / "__init__.py").write_text("from ledger import migrations\n__path__ += migrations.__path__\n")
    (package / "9999_next.py").write_text(NEXT.format(last=last))
    (tmp_path / "next_settings.py").write_text(
        'from ledger.settings import *\nMIGRATION_MODULES = {"ledger": "next_migrations"}\n'
    )
    environment = house._environment() | {
        "DJANGO_SETTINGS_MODULE": "next_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "PGOPTIONS": "-c lock_timeout=5s",
    }

    def migrate(*target):
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "1", *target]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    yield migrate
    undone = migrate("ledger", last)
    assert undone.returncode == 0, undone.stderr


def test_a_migration_while_everybody_writes(house, walk, next_version):
    """While eight threads append, and at a step of a client's story; both go on in the wider tables."""
    done = []

    def migrate(_walk):
        writer = script(house, WRITER, "10000")
        await_more(house, writer)
        migrated = next_version()
        assert migrated.returncode == 0, migrated.stderr
        assert "9999_next... OK" in migrated.stdout
        await_more(house, writer)
        assert check_written(house, writer) == 0, "a writer was refused"
        done.append(migrated)

    walk(house, "migration while everybody writes", {"closed": migrate})
    assert done
