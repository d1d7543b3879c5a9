"""What all tests share: the option that accepts a changed golden file."""

import hypothesis
import pytest

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
