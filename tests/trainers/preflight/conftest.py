from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
sys.path.insert(0, str(Path(__file__).parent))
