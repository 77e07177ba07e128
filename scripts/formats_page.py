"""docs/formats.md, made from the code: what every format reads, writes and holds, why rows are refused, real sets.

    python scripts/formats_page.py [--data ../shared/data]

Without the data the table of real sets stays as it is; docs/peers.md, which `make peers` writes, is taken in.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from prefdata import catalogue
from prefdata.build.built import REASONS as BUILDING
from prefdata.conversion import convert
from prefdata.formats.core import Feature
from prefdata.formats.rules import REASONS
from prefdata.schema import RecordType

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "formats.md"
PEERS = ROOT / "docs" / "peers.md"

TYPES = {
    RecordType.SFT: "SFT",
    RecordType.PREFERENCE: "pairs",
    RecordType.UNPAIRED: "unpaired (KTO)",
    RecordType.PROMPT: "prompts",
}

INTRODUCTION = """# Formats

    prefdata convert IN --from auto --to FORMAT --out PATH

`IN` is JSONL, JSON, Parquet, CSV, TSV or XLSX, plain or gzipped, or a folder of them. The format is recognised from
names and types of columns, and the reasons are printed. Where a file can be read in several ways that differ in their
result, nothing is guessed: the ways are listed, and `--from` and `--type` choose. Every record is written, refused with
all its reasons (`.refused.parquet` in the folder, `.NAME.refused.parquet` beside a file: file, line, reasons, never
text; hidden, since `datasets` takes other Parquet files for data), or quarantined as unreadable; the sums agree. Where
no row is left, the command ends with 3.

- Prompts are explicit, labels are booleans. A label `"false"`, 0 or 1 is refused unless `--label false=false` says what
  it means: HALOs and ms-swift would take the text "false" for true. (HALOs writes 1 and 0 itself; there they count.)
- A picture's place is kept: content parts, `<image>` tags and TRL's rule for text with pictures are rewritten into each
  other. A literal `<image>` in a text is refused where the target would take it for a picture.
  Two columns of pictures that differ are refused. Bytes are addresses too.
- Of a conversation, the last turn is the answer, or the turns that a flag of its tool marks; what the assistant says
  before is context, not to be trained on; the command says in how many rows. Files say so where they can; LLaMA-Factory
  needs `mask_history: true`, and ms-swift `--loss_scale last_round` for files in other tools' formats.
- Results of tools stand in the order of their calls, which their ids have to confirm. Numbers among arguments and
  reference answers are written as `42`, never `42.0`; a key without a value is left out of arguments that are no text.
- A folder may take several conversions: `dataset_info.json` and `.refused.parquet` keep what is said of other files.
- Each writer applies the target's own acceptance rules first, so that nothing is dropped there in silence.
- `--as` makes pairs into unpaired rows or SFT, unpaired rows into SFT, and anything into prompts.
- Unpaired rows are written with both labels spread over each stretch (8 MiB) of a file, since trainers read in file
  order and KTO wants both in a batch; rows of one label keep their order.

From Python: `prefdata.convert("pairs.jsonl", to="trl", out="data")`. This page is made by `make docs`; the tests hold
it to the code.

## Tables

    prefdata audit tweets.csv --columns completion=tweet --columns label=class --label 2=true --label 0=false
    prefdata convert answers.xlsx --columns prompt=question --columns completion=reply --to trl --out sft.parquet

CSV, TSV and XLSX (its first sheet) hold text and nothing else. Where their columns have the names of a format
(`prompt`, `chosen`, `rejected`; Alpaca's) they are read as that. Else `--columns NAME=COLUMN` says which is what; in a
recipe `format: {table: {columns: {completion: tweet, label: class}}}` with `labels` beside it. It works for JSONL and
Parquet of plain columns too.

- Names are prompt, system, completion, chosen, rejected, label, margin, answer, id, source, group, language, and
  image, the picture that the prompt is about. A column of such a name needs no entry, but for group, language and
  image. The type follows: chosen and rejected are pairs; completion and label are unpaired rows; completion alone is
  SFT, prompt alone prompts; `--type` says otherwise. All other columns go to `meta`.
- A cell is a whole text: the prompt one turn of the user, an answer one of the assistant. A blank cell is nothing.
  Labels are true and false in any case; all others need `--label`.
- Rows without a prompt can be audited. They cannot be written, since no trainer takes them:
  `convert --from-set prompt="Write a tweet."` gives them one.
- The first record names the columns. A comma, tab, semicolon or bar separates, as most lines say; quotes follow RFC
  4180, and a record that breaks its rules, a NUL, or a cell over 4 MiB costs that record alone: it is quarantined with
  its file and line. Nothing in a cell is run: a formula is text in a CSV, and its last value in an XLSX.
"""

PICTURES = """
    prefdata convert captions.parquet --to swift --out data       # pictures inside -> data/images/
    prefdata convert shards/ --to trl --out train.parquet         # WebDataset tars -> pictures inside

Read are, beside rows of the formats above with their pictures:

- `captions`: a column of pictures (image, file_name, path, url, ...) and one of texts (text, caption, answer, ...), a
  question and a label where there are such columns. In a recipe `format: {captions: {question: "What is this?",
  columns: {image: img, text: says, label: feedback}}}`. Several captions of a picture, in a list or in columns
  `caption_0`, `caption_1`, are as many rows of one group. With a label rows are unpaired, else SFT; pairs about a
  picture are for `table` (`columns: {image: img, chosen: good, rejected: bad}`).
- Hugging Face's imagefolder, by `file_name` in its metadata.csv or metadata.jsonl; folders of pictures with a `.txt`
  beside each, where there is no other data in the folder. A picture without a text, and a text without a picture, are
  refused, each by its name.
- Hugging Face's `Image` in Parquet (`{"bytes", "path"}`), plain bytes, and base64 text: bytes become `data:` addresses.
- WebDataset tars: `.png`, `.jpg` and the like with `.txt` or `.json` of the same key. They are read as a stream; no
  name in a tar is used as a path, nothing is unpacked to disk, links and devices cost their sample, files that are too
  large are passed over, and what is no picture, text or JSON is left alone.

Addresses are relative to the folder of the data file, for `run`, `audit`, `preflight` and `convert` alike: `x.png` in
`photos/train/metadata.jsonl` is `photos/train/x.png`. Of a folder, `convert` writes them as seen from that folder
(`train/x.png`), so that no two pictures have one address; else it leaves them as they stand. It opens no picture; only
bytes go out as the table says. Files below a folder called train, validation or test (or dev, val, eval ...) become
that split, others one by their own name. A run reads all files of a source as one set, whatever their folders are
called, and splits it itself: to leave the test rows of such a folder out, name `photos/train`. It takes every picture
through its gate, and its exports hold the stored ones:
"""

WAYS: Mapping[str, str] = {
    "inside": "inside, as `Image()`: `datasets.load_dataset` gives PIL pictures",
    "tar": "inside the tar: `<key>.png`, or `<key>.0.png`, `<key>.1.png`, ...",
    "data": "as `data:` addresses",
    "files": "files in `images/`, addresses relative to the data file",
}

FOUND = """
TRL's trainers take all pictures of a row for its prompt's: rows with a picture in an answer are refused with `trl`.
`huggingface` and `webdataset` keep them, for other trainers; do not give TRL those.

LLaMA-Factory finds files through `dataset_dir`, ms-swift by `ROOT_IMAGE_DIR=<folder of the data>`; TRL, Axolotl and
OpenRLHF where the trainer is started in that folder. Lines of JSONL with pictures inside get long: our own reader takes
4 MiB a line.
"""

SETS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("hh_rlhf/test.jsonl.gz", {}, "trl"),
    ("oasst/en_100_tree.jsonl", {}, "trl"),
    ("autoj/testdata_pairwise.jsonl.gz", {}, "trl"),
    ("llamafactory/dpo_en_demo.json", {}, "swift"),
    ("llamafactory/dpo_zh_demo.json", {}, "trl"),
    ("llamafactory/kto_en_demo.json", {}, "halos"),
    ("llamafactory/alpaca_zh_demo.json", {}, "openai"),
    ("llamafactory/mllm_demo.json", {}, "swift"),
    ("llamafactory/v1_dpo_demo.jsonl", {}, "llamafactory"),
    (
        "davidson/labeled_data.csv.gz",
        {
            "columns": {"completion": "tweet", "label": "class"},
            "labels": {"2": True, "0": False, "1": False},
            "source_settings": {"prompt": "Write a tweet."},
        },
        "trl",
    ),
    (
        "cold/dev.csv.gz",
        {
            "columns": {"completion": "TEXT", "prompt": "topic", "label": "label"},
            "labels": {"0": True, "1": False},
        },
        "swift",
    ),
)
"""Files of the shared data, what has to be said to read them, and a target."""


def section(name: str) -> tuple[str, str]:
    """Marks around a part of the page."""
    return f"<!-- {name} -->", f"<!-- end of {name} -->"


def formats_table() -> str:
    """Which types each format reads and writes."""
    lines = ["| format | | reads | writes | file |", "| --- | --- | --- | --- | --- |"]
    for name in catalogue.FORMATS:
        one = catalogue.load("format", name)
        document = sys.modules[one.__module__].__doc__ or ""
        first = re.split(r"(?<=[.:;])\s", document.strip().replace("\n", " "))[0].rstrip(".:;").replace("|", "\\|")
        reads = ", ".join(word for kind, word in TYPES.items() if kind in one.reads)
        writes = ", ".join(word for kind, word in TYPES.items() if kind in one.writes)
        lines.append(
            f"| `{name}` | {first} | {reads} | {writes or 'reading only'} | {one.container if writes else ''} |"
        )
    return "\n".join(lines)


def pictures_table() -> str:
    """How stored pictures go out in every format that holds them."""
    lines = ["| format | pictures of an export | or |", "| --- | --- | --- |"]
    for name in catalogue.FORMATS:
        one = catalogue.load("format", name)
        if hasattr(one, "pictures"):
            ways = {"files": WAYS["files"], "bytes": WAYS[_inside(one)]}
            others = [f"`pictures: {other}`: {ways[other]}" for other in get_args(get_type_hints(one)["pictures"])]
            others = [other for other in others if f": {one.pictures}`" not in other]
            lines.append(f"| `{name}` | {ways[one.pictures]} | {'; '.join(others)} |")
    return "\n".join(lines)


def _inside(one: Any) -> str:
    if one.container == "tar":
        return "tar"
    return "inside" if one.container == "parquet" and getattr(one, "picture_columns", ()) else "data"


def holds_tables() -> str:
    """What a row may have and each writer keeps, a table for every type."""
    parts = []
    for kind, word in TYPES.items():
        writers = [name for name in catalogue.FORMATS if kind in catalogue.load("format", name).writes]
        parts += [f"### {word}", "", "| | " + " | ".join(f"`{name}`" for name in writers) + " |"]
        parts.append("| --- |" + " :-: |" * len(writers))
        for feature in Feature:
            held = [feature in catalogue.load("format", name).holds[kind] for name in writers]
            if any(held):
                parts.append(f"| {feature} | " + " | ".join("yes" if one else "" for one in held) + " |")
        parts.append("")
    return "\n".join(parts).strip()


def reasons_table() -> str:
    """Why a row is refused."""
    lines = ["| reason | |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in sorted(REASONS.items())]
    lines += [
        "",
        "Of formats whose rows hold several answers, and with `--as`, the builders say why no row was made:",
        "",
    ]
    lines += ["| reason | |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in sorted(BUILDING.items())]
    return "\n".join(lines)


def sets_table(data: Path) -> str:
    """Real sets there and back: records in, rows out, refusals by reason, rows read back from what was written."""
    lines = [
        "| file | read as | records | rows written | refused | back again |",
        "| --- | --- | --: | --: | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for at, (file, told, target) in enumerate(SETS):
            out = Path(scratch) / str(at)
            there = convert(data / file, to=target, out=out, **told)
            back = convert(
                out / next(iter(there.files)),
                to="trl",
                out=Path(scratch) / f"{at}b",
                source=target,
                type=there.written_as,
            )
            refused = {**there.refused_reading, **there.refused_building, **there.refused_writing}
            said = ", ".join(f"{number} {name}" for name, number in sorted(refused.items())) or "none"
            lines.append(
                f"| {file} | `{there.source}`, {TYPES[there.type]} | {there.read:,} "
                f"| {there.written:,} to `{target}` | {said} | {back.written:,} of {back.read:,} |"
            )
    return "\n".join(lines)


def page(old: str, *, data: Path | None) -> str:
    """The whole page; the table of real sets is taken from `old` where `data` is not given."""
    start, end = section("real sets")
    if data is not None:
        sets = sets_table(data)
    else:
        found = re.search(re.escape(start) + r"\n(.*?)\n" + re.escape(end), old, re.S)
        sets = found.group(1) if found else ""
    peers = PEERS.read_text(encoding="utf-8") if PEERS.exists() else ""
    peers = re.sub(r"^#", "##", peers, flags=re.M).strip()
    parts = [
        INTRODUCTION.strip(),
        "## Types\n\n" + formats_table(),
        "\n\n".join(("## Pictures", PICTURES.strip("\n"), pictures_table(), FOUND.strip())),
        "## What each format holds\n\nWhat is not held is refused with its reason, or left out knowingly where it is "
        "no part of what is\ntrained on (margin, id); the command says so.\n\n" + holds_tables(),
        "## Real sets, there and back\n\n" + "\n".join((start, sets, end)),
        *([peers] if peers else []),
        "## Why a row is refused\n\n" + reasons_table(),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    options = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page(old, data=options.data), encoding="utf-8")


if __name__ == "__main__":
    main()
