"""What all tests share: the option that accepts a changed golden file, and what no test may do."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from infra.embedded import postgres_cluster
from tests.shared_data import SHARED, SHARED_ABSENT

hypothesis.settings.register_profile("house", deadline=None)  # speed is shown by the benchmark, never by a test
hypothesis.settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from the present descriptors and answers"
    )


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Tell whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


def refuse_skip(report: Any) -> Any:
    """Turn a skip, or an expected failure, into a failure: a test that does not run proves nothing.

    The one reason that is accepted is that the data beside the checkout are absent.
    """
    if report.outcome == "skipped" or hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        if reason.removeprefix("Skipped: ") != SHARED_ABSENT or SHARED.is_dir():
            report.outcome = "failed"
            report.longrepr = f"a test may be skipped only because {SHARED_ABSENT}, not because: {reason}"
            vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Accept no skipped test."""
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """Accept no skipped file."""
    return refuse_skip((yield))


def clusters_left(folder: Path) -> list[str]:
    """List root's clusters whose data directories are, or were, below a folder."""
    registers = [each for each in postgres_cluster.SYSTEM_DIR.glob("*.data-dir") if os.access(each, os.R_OK)]
    return [str(each) for each in registers if folder in Path(os.fsdecode(each.read_bytes())).parents]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session whose tests have left PostgreSQL clusters outside their folders."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    left = clusters_left(factory.getbasetemp()) if factory is not None else []
    if left:
        print("\nclusters left behind by tests:", *left, sep="\n  ")  # noqa: T201
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
