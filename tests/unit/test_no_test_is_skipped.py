"""The rule of ``tests/conftest.py``: no test is skipped, and no failure expected."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.system import ROOT
from tests.shared_data import SHARED_ABSENT

EXAMPLES = {
    "passes": "def test_it(): assert True",
    "skipped": "import pytest\n@pytest.mark.skip(reason='no browser here')\ndef test_it(): pass",
    "skips_itself": "import pytest\ndef test_it(): pytest.skip('no browser here')",
    "skipped_file": "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass",
    "expected_to_fail": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert False",
    "no_parameters": "import pytest\n@pytest.mark.parametrize('one', [])\ndef test_it(one): pass",
    "leaves_a_cluster": """
import os
from infra.embedded import postgres_cluster

def test_it(tmp_path):
    postgres_cluster.SYSTEM_DIR = tmp_path
    (tmp_path / "0123456789abcdef.data-dir").write_bytes(os.fsencode(tmp_path / "data"))
""",
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_only_what_runs_passes(tmp_path: Path, example: str) -> None:
    """A test that is skipped everywhere would look like one that passes, and its subject break unseen."""
    (tmp_path / f"test_{example}.py").write_text(EXAMPLES[example])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")),
            *(f"--rootdir={tmp_path}", f"--basetemp={tmp_path / 'temp'}", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode == 0) == (example == "passes"), done.stdout
    assert " skipped" not in done.stdout.splitlines()[-1]
    if example.startswith("skip"):
        assert f"a test may be skipped only because {SHARED_ABSENT}, not because: " in done.stdout
