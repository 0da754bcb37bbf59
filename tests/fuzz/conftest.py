"""The targets import the modules beside them, and the seeds those of the tests of the export."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "export")]
