"""The real data beside the checkout, and the mark of the tests that need it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data"
SHARED_ABSENT = "../shared is absent"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=SHARED_ABSENT)
