"""What `prefdata --help` costs beside `import polars`, in turn, in fresh processes. Prints the ratio of the medians.

python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import resource
import subprocess
import sys

LIMIT = 1.5
"""The ratio that the command line may cost."""


def cpu_seconds(arguments: list[str]) -> float:
    """CPU seconds, user and system, of one process from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main(rounds: int) -> None:
    helps, polars = [], []
    for _ in range(rounds + 1):
        helps.append(cpu_seconds(["-m", "prefdata.cli", "--help"]))
        polars.append(cpu_seconds(["-c", "import polars"]))
    helps, polars = helps[1:], polars[1:]  # the first round fills the page cache
    ratio = median(helps) / median(polars)
    print(f"prefdata --help  {1000 * median(helps):6.0f} ms CPU, median of {rounds}")
    print(f"import polars    {1000 * median(polars):6.0f} ms CPU, median of {rounds}")
    print(f"ratio            {ratio:6.2f} (limit {LIMIT})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
