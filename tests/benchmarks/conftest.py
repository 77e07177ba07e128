"""The scripts of benchmarks/peers import each other by name, as they do where the peers run them."""

from __future__ import annotations

import sys
from pathlib import Path

PEERS = str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers")
if PEERS not in sys.path:
    sys.path.append(PEERS)
