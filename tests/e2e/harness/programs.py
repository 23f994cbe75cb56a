"""Both programs by name: `@programs` runs a test once for each. And the exit codes that they share."""

import pytest

USAGE, TEMPORARY, CONFIGURATION = 64, 75, 78
PROGRAMS = ["api", "gateway"]
programs = pytest.mark.parametrize("program", PROGRAMS)
