import subprocess
import sys
from pathlib import Path

PURE = """
import sys
from ledger.tlog import checkpoint, merkle, note
from ledger.statements import canonical, dsse, httpsig, keys, statement
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"django", "torch", "ezkl", "celery", "httpx2"}))
"""


def test_the_pure_packages_pull_in_no_framework():
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", PURE], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
