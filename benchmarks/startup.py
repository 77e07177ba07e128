"""What `prefdata --help` and `prefdata estimate` cost beside `import polars`, in turn, in fresh processes.

Prints the medians, and the ratio of the help to polars.

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


COMMANDS = {
    "prefdata --help": ["-m", "prefdata.cli", "--help"],
    "import polars": ["-c", "import polars"],
    "prefdata estimate --model": ["-m", "prefdata.cli", "estimate", "--model", "qwen2.5-7b", "--method", "dpo"],
    "prefdata estimate RECIPE": ["-m", "prefdata.cli", "estimate", "recipes/support_kto.yaml"],
}
"""What is measured, from the root of the repository."""


def main(rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            taken[name].append(cpu_seconds(arguments))
    middle = {name: median(found[1:]) for name, found in taken.items()}  # the first round fills the page cache
    for name, seconds in middle.items():
        print(f"{name:26} {1000 * seconds:6.0f} ms CPU, median of {rounds}")
    ratio = middle["prefdata --help"] / middle["import polars"]
    print(f"{'--help / import polars':26} {ratio:6.2f} (limit {LIMIT})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
