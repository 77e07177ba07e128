"""What the finer look at screens costs that differ in what is written on them alone.

    python benchmarks/picture_details.py [--screens 2000] [--one-by-one 200]

Screens of one dialog, 640 x 400 pixels, each with eight lines of other numbers, and a re-encoded copy of every
fiftieth. Each is compared with the 64 that follow it, as in a bucket of `picture_duplicates` that is too large to do
in full. Beside it, some of the same pairs one at a time, as a plain loop over pairs would: both files opened for each.

Times are of the process (CPU), so that other work on the machine counts little. Exits with 1 where a pair of different
screens agrees, or a copy does not.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageStat

from prefdata.dedup.picture_candidates import NEXT
from prefdata.dedup.picture_details import agree
from prefdata.dedup.picture_greys import Greys

SIZE = (640, 400)
COPIED = 50


def screen(dice: random.Random, lettering: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    picture = Image.new("RGB", SIZE, "#e8e8e8")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, SIZE[0], 28), fill="#2050a0")
    pen.text((8, 6), "Order desk", font=lettering, fill="white")
    for line in range(8):
        pen.text((30, 50 + 36 * line), f"Order {dice.randrange(10000, 99999)}", font=lettering, fill="black")
        pen.text((420, 50 + 36 * line), f"EUR {dice.randrange(10000) / 100:.2f}", font=lettering, fill="black")
    return picture


def drawn(folder: Path, count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Files of screens, and pairs of a screen and its copy."""
    lettering = ImageFont.load_default(12)

    def made(seed: int) -> Image.Image:
        return screen(random.Random(seed), lettering)

    files, copies = [], []
    # in the order of a bucket, which is sorted by brightness
    for number, seed in enumerate(sorted(range(count), key=lambda seed: ImageStat.Stat(made(seed)).sum)):
        picture = made(seed)
        files.append(str(folder / f"{number:06}.png"))
        picture.save(files[-1], compress_level=1)
        if number % COPIED == 0:
            copies.append((files[-1], str(folder / f"{number:06}.jpg")))
            picture.save(copies[-1][1], quality=30 + seed % 60)
    return files, copies


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--screens", type=int, default=2000)
    parser.add_argument("--one-by-one", type=int, default=200, help="pairs of the plain loop")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files, copies = drawn(Path(scratch), given.screens)
        different = [(one, other) for at, one in enumerate(files) for other in files[at + 1 : at + 1 + NEXT]]
        agree(different[:1])
        before, start = peak(), time.process_time()
        with Greys() as greys:
            verdicts = agree([*different, *copies], greys=greys)
            opened = greys.opened
        each = 1000 * (time.process_time() - start) / verdicts.size
        print(f"{len(different):,} pairs of {len(files):,} screens and {len(copies)} with copies")
        more = peak() - before
        print(f"together    {each:8.3f} CPU ms a pair, {opened:,} files opened, {more:.0f} MB above the start")
        some = [different[at] for at in np.linspace(0, len(different) - 1, given.one_by_one).astype(int).tolist()]
        start = time.process_time()
        alone = [bool(agree([pair])[0]) for pair in some]
        print(f"one by one  {1000 * (time.process_time() - start) / len(some):8.3f} CPU ms a pair")
        merged, missed = int(verdicts[: len(different)].sum()), int((~verdicts[len(different) :]).sum())
        print(f"different screens that agree: {merged} of {len(different):,}")
        print(f"copies that do not: {missed} of {len(copies)}")
        sys.exit(1 if merged or missed or any(alone) else 0)


if __name__ == "__main__":
    main()
