"""One agent at a time in a folder, and no folder of a newer agent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prover_worker.agent_hold import SCHEMA, check_schema, held
from prover_worker.agent_state import Folder
from prover_worker.errors import AgentError

ROOT = Path(__file__).resolve().parents[2]
_HOLDER = """
import sys, time
from pathlib import Path
from prover_worker.agent_hold import held
from prover_worker.agent_state import Folder
with held(Folder(Path(sys.argv[1])), "watch"):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_agent_is_told_who_holds_the_folder(holder, tmp_path):
    with pytest.raises(AgentError, match=rf"process {holder.pid}, `watch` since 20.*; wait until it is done"):
        with held(Folder(tmp_path), "run"):
            pass


def test_an_agent_that_was_killed_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    with held(Folder(tmp_path), "run"):
        assert Folder(tmp_path).read_json("folder.json")["holder"]["pid"] == os.getpid()


def test_what_a_killed_agent_left_half_written_goes(tmp_path):
    inside = tmp_path / "orders" / "x"
    inside.mkdir(parents=True)
    (inside / ".seed.123.part").write_bytes(b"half")
    (inside / "seed").write_bytes(b"whole")
    with held(Folder(tmp_path), "run"):
        assert [path.name for path in inside.iterdir()] == ["seed"]


def test_a_folder_of_the_first_schema_is_taken_over(tmp_path):
    folder = Folder(tmp_path)
    folder.write_json("agent.json", {"client": "c"})
    check_schema(folder)
    with held(folder, "run"):
        pass
    assert folder.read_json("folder.json")["schema"] == SCHEMA
    assert folder.read_json("agent.json") == {"client": "c"}


@pytest.mark.parametrize("schema", [SCHEMA + 1, "new"])
def test_a_folder_of_a_newer_agent_is_left_alone(tmp_path, schema):
    (tmp_path / "folder.json").write_text(json.dumps({"schema": schema}))
    for use in (lambda: check_schema(Folder(tmp_path)), lambda: held(Folder(tmp_path), "run").__enter__()):
        with pytest.raises(AgentError, match=r"was written by a newer agent .* upgrade the agent"):
            use()
    assert json.loads((tmp_path / "folder.json").read_text()) == {"schema": schema}
