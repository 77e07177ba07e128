"""Every export, loaded by the peer it is for: rows accepted, labels, and the text that the loss would see.

    make peers                                   # makes the environments under .peers/, then runs this
    .venv/bin/python benchmarks/peers/compare.py [--peers trl,swift] [--only pictures] [--write FILE.md]

The same canonical rows (fixture_rows.py) go through each writer, their pictures out of a store as a run keeps them, to
files beside the data or bytes inside; a script in the peer's own environment loads the files
with the peer's own code; verdicts.py holds what comes back against the canonical rows. A second table has rows that the
peers refuse or damage (refusals.py), and our rule for each.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fixture_models
import fixture_rows
import refusals
import verdicts
from cases import CASES, Case

from prefdata.catalogue import load
from trainers.models import pull

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".peers"
RESULTS = "results.json"


class Peer(NamedTuple):
    """A peer's environment and loader."""

    title: str
    python: Path
    script: str


PEERS_BY_NAME = {
    "trl": Peer("TRL", ROOT / ".venv" / "bin" / "python", "load_trl.py"),
    "swift": Peer("ms-swift", PEERS / "swift" / "bin" / "python", "load_swift.py"),
    "llamafactory": Peer("LLaMA-Factory", PEERS / "llamafactory" / "bin" / "python", "load_llamafactory.py"),
    "axolotl": Peer("Axolotl", PEERS / "axolotl" / "bin" / "python", "load_axolotl.py"),
    "verl": Peer("verl", PEERS / "verl" / "bin" / "python", "load_verl.py"),
}


class Export(NamedTuple):
    """One writer, one type, one set of rows, one peer."""

    peer: str
    format: str
    type: str
    pictures: bool = False
    options: Mapping[str, Any] = {}
    """Settings of our writer."""
    settings: Mapping[str, Any] = {}
    """What has to be set in the peer for this file, beside what it is."""
    remark: str = ""
    tools: bool = True
    """The peer reads tool definitions from the file."""
    differ: tuple[int, int] = (0, 0)
    """Rows whose text and whose prompt cannot be equal, as `remark` says of the peer."""

    @property
    def name(self) -> str:
        """Folder of the export."""
        parts = [self.format, *map(str, self.options.values()), self.type, *(["pictures"] if self.pictures else [])]
        return "-".join(parts)


EXPORTS = (
    *(Export("trl", "trl", kind) for kind in ("sft", "preference", "unpaired")),
    Export(
        "trl", "trl", "prompt", tools=False, remark="GRPO takes tools as functions from its caller, not from the file"
    ),
    *(
        Export("trl", "trl", kind, options={"style": "standard"}, tools=False)
        for kind in ("sft", "preference", "unpaired", "prompt")
    ),
    *(Export("trl", "trl", kind, pictures=True) for kind in ("sft", "preference", "unpaired", "prompt")),
    Export("trl", "trl", "sft", pictures=True, options={"pictures": "files"}, remark="started beside the data"),
    *(Export("swift", "swift", kind) for kind in ("sft", "preference", "unpaired", "prompt")),
    Export("swift", "swift", "preference", options={"rejected": "response"}),
    *(
        Export(
            "swift",
            form,
            "sft",
            settings={"loss_scale": "last_round"},
            remark="`--loss_scale last_round`, else earlier answers are trained on too" + more,
            differ=differ,
        )
        for form, more, differ in (
            ("sharegpt", "; it joins two turns of one side", (0, 1)),
            ("alpaca", "", (0, 0)),
            ("openai", "; it joins two turns of one side, and does not read `weight` of earlier turns", (1, 2)),
        )
    ),
    *(
        Export("swift", "swift", kind, pictures=True, remark="`ROOT_IMAGE_DIR` is the folder of the data")
        for kind in ("sft", "preference", "unpaired", "prompt")
    ),
    Export("swift", "swift", "sft", pictures=True, options={"pictures": "bytes"}),
    *(
        Export(
            "llamafactory",
            "llamafactory",
            kind,
            options={"style": style},
            pictures=pictures,
            settings={"mask_history": True} if kind == "sft" else {},
            remark="`mask_history: true`, else earlier answers are trained on too" if kind == "sft" else "",
        )
        for style, pictures in (("sharegpt", False), ("openai", False), ("alpaca", False), ("sharegpt", True))
        for kind in ("sft", "preference", "unpaired")
    ),
    *(Export("axolotl", "axolotl", kind) for kind in ("sft", "preference", "unpaired")),
    Export(
        "axolotl",
        "axolotl",
        "sft",
        pictures=True,
        remark="its collator for pictures does not read `train`: every turn of the assistant is trained on",
    ),
    *(
        Export(
            "verl",
            "verl",
            kind,
            pictures=pictures,
            remark="every turn of the assistant is trained on, those before the answer too" if kind == "sft" else "",
            differ=(1, 1) if kind == "sft" else (0, 0),
        )
        for kind, pictures in (
            ("sft", False),
            ("preference", False),
            ("prompt", False),
            ("sft", True),
            ("prompt", True),
        )
    ),
)


COLUMNS = (
    "peer",
    "version",
    "export",
    "rows",
    "not written",
    "accepted",
    "labels equal",
    "text equal",
    "prompt equal",
    "remark",
)


class Line(NamedTuple):
    """One line of the table."""

    export: Export
    verdict: verdicts.Verdict | None
    refused: Mapping[str, int]
    """Our own refusals: reason -> rows."""
    error: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both tables; 1 if a row was lost, changed or relabelled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(PEERS_BY_NAME), help="which, by comma (default: all)")
    parser.add_argument("--write", type=Path, help="file that gets the tables")
    parser.add_argument("--only", default="", help="load only what has this in its name; keep the results of the rest")
    parser.add_argument("--again", action="store_true", help="tell the results of the last run once more")
    parser.add_argument("--notes", action="store_true", help="name the rows that differ, on stderr")
    args = parser.parse_args(arguments)
    chosen = args.peers.split(",")
    models = fixture_models.make(pull("smollm2-135m"), PEERS / "models")
    work = PEERS / "work"
    pictures = _pictures(work)
    lines: list[Line] = []
    outcomes: list[tuple[Case, str, str]] = []
    versions: dict[str, str] = {}
    for name in chosen:
        peer = PEERS_BY_NAME[name]
        if not peer.python.is_file():
            print(f"{peer.title}: no environment at {peer.python.relative_to(ROOT)}; run make peers", file=sys.stderr)
            return 2
        exports = [export for export in EXPORTS if export.peer == name]
        cases = [case for case in CASES if case.peer == name]
        folder = work / name
        before = _results(folder) if args.only else {}
        if not args.again and not args.only:
            shutil.rmtree(folder, ignore_errors=True)
        written = [_write(export, folder / export.name, pictures) for export in exports]
        jobs = [
            _job(export.name, export.type, folder / export.name, models, export.pictures, export.settings)
            for export in exports
        ]
        for at, case in enumerate(cases):
            refusals.write(case, folder / f"case-{at}", pictures[0])
            jobs.append(_job(f"case-{at}", case.type, folder / f"case-{at}", models, case.vision, {}))
        started = time.monotonic()
        jobs = [job for job in jobs if args.only in job["name"] or (args.only and job["name"] not in before)]
        report = json.loads((folder / RESULTS).read_text()) if args.again else _run(peer, jobs, folder)
        if args.only and not args.again:
            found = {**before, **{result["name"]: result for result in report["results"]}}
            report["results"] = list(found.values())
            (folder / RESULTS).write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
        print(f"{peer.title}: {len(jobs)} files, {time.monotonic() - started:.0f} s", file=sys.stderr)
        versions[name] = report["version"]
        results = {result["name"]: result for result in report["results"]}
        for export, made in zip(exports, written, strict=True):
            lines.append(_line(export, made, results[export.name]))
        outcomes += [
            (case, refusals.outcome(case, results[f"case-{at}"]), refusals.rule(case, folder / f"case-{at}"))
            for at, case in enumerate(cases)
        ]
    text = tables(lines, outcomes, versions, datetime.date.today())
    print(text)
    if args.notes:
        for line in lines:
            for note in line.verdict.notes if line.verdict else ():
                print(f"{line.export.name}: {note}", file=sys.stderr)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return int(not all(_as_said(line) for line in lines))


def _as_said(line: Line) -> bool:
    """Every row is accepted as it went, but for as many as the remark on the peer accounts for."""
    if line.error or line.verdict is None:
        return False
    seen, (texts, prompts) = line.verdict, line.export.differ
    if not texts and not prompts:
        return seen.green
    return seen.accepted == seen.rows and (seen.rows - seen.texts, seen.rows - seen.prompts) == (texts, prompts)


class Written(NamedTuple):
    """The canonical rows of an export that our writer let pass, their names, and how many it refused why."""

    rows: list[dict[str, Any]]
    names: list[str]
    refused: dict[str, int]


def _write(export: Export, folder: Path, pictures: Sequence[Path]) -> Written:
    from prefdata.formats.files import write_export

    store = pictures[0].parents[2]
    pictures = [path.relative_to(store) for path in pictures]

    record_type = fixture_rows.TYPES[export.type]
    conversations = fixture_rows.IMAGES if export.pictures else fixture_rows.TEXT
    frame = fixture_rows.frames(record_type, conversations, pictures)
    form = load("format", export.format)(**export.options)
    write_export(form, {"train": frame}, record_type, folder, pictures=store)
    refused = form.encode(frame, record_type).refused
    out = set(refused["_row"].to_list())
    names = fixture_rows.names(record_type, conversations)
    kept = [at for at in range(frame.height) if at not in out]
    counts = refused.explode("reasons").group_by("reasons").len().sort("reasons")
    rows = frame.to_dicts()
    return Written([rows[at] for at in kept], [names[at] for at in kept], dict(counts.iter_rows()))


def _job(
    name: str, kind: str, data: Path, models: Mapping[str, Path], vision: bool, settings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "data": str(data),
        "model": str(models["vision" if vision else "text"]),
        "scratch": str(data.parent / "scratch" / name),
        "settings": dict(settings),
    }


def _results(folder: Path) -> dict[str, Any]:
    """The results of the last run, by name."""
    if not (folder / RESULTS).is_file():
        return {}
    report = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return {result["name"]: result for result in report["results"]}


def _run(peer: Peer, jobs: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    given, made, log = folder / "jobs.json", folder / RESULTS, folder / "log.txt"
    given.write_text(json.dumps(jobs, ensure_ascii=False, indent=1), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w", encoding="utf-8") as out:
        command = [str(peer.python), str(HERE / peer.script), str(given), str(made), "--traceback"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode or not made.is_file():
        raise SystemExit(f"{peer.title}: its loader ended with {done.returncode}; see {log.relative_to(ROOT)}")
    report: dict[str, Any] = json.loads(made.read_text(encoding="utf-8"))
    return report


def _line(export: Export, written: Written, result: Mapping[str, Any]) -> Line:
    if result["error"]:
        return Line(export, None, written.refused, refusals.failure(result["error"]))
    if result.get("unsupported"):
        return Line(export, None, written.refused, f"not supported: {result['unsupported']}")
    seen = verdicts.judge(written.rows, written.names, result["rows"], tools=export.tools)
    return Line(export, seen, written.refused, "")


def tables(
    lines: Iterable[Line],
    outcomes: Iterable[tuple[Case, str, str]],
    versions: Mapping[str, str],
    day: datetime.date,
) -> str:
    """Both tables as Markdown."""
    out = [
        "## Loaded by the peers",
        "",
        f"Loaded on {day.isoformat()} with each peer's own dataset code, up to tokenised rows (`make peers`).",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---|--:|---|--:|--:|--:|--:|---|",
    ]
    for line in lines:
        title = f"{line.export.type}{', pictures' if line.export.pictures else ''}"
        own = (line.export.format,) if line.export.format != line.export.peer else ()
        options = "".join(f", {value}" for value in (*own, *line.export.options.values()))
        refused = ", ".join(f"{count} {reason}" for reason, count in line.refused.items()) or "0"
        start = f"| {PEERS_BY_NAME[line.export.peer].title} | {versions[line.export.peer]} | {title}{options} "
        if line.verdict is None:
            out.append(f"{start}| | {refused} | | | | | {line.error} |")
            continue
        seen = line.verdict
        remark = "; ".join([*([line.export.remark] if line.export.remark else []), *seen.remarks])
        label = str(seen.labels) if line.export.type == "unpaired" else ""
        out.append(
            f"{start}| {seen.rows} | {refused} | {seen.accepted} | {label} | {seen.texts} | {seen.prompts} | {remark} |"
        )
    out += [
        "",
        "*text equal*: the tokens that the loss sees, decoded, are the answer and nothing else. *prompt equal*: the"
        " other tokens are the turns before it. Set aside are the template's tokens around a turn, its own system"
        " prompt where a row has none, its description of tools, the spacing of a tool call's JSON, and the number of"
        " places that a picture takes. *not written*: rows that our writer refuses for this target, by reason.",
        "",
        "What the peers do with rows of their own form that are not sound; each file holds a sound row and this one."
        " *our rule*: why our reader or writer of the same format refuses it; none: it does not.",
        "",
        "| peer | type | row | what the peer does | our rule |",
        "|---|---|---|---|---|",
    ]
    for case, outcome, rule in outcomes:
        out.append(f"| {PEERS_BY_NAME[case.peer].title} | {case.type} | {case.title} | {outcome} | {rule} |")
    return "\n".join(out) + "\n"


def _pictures(work: Path) -> list[Path]:
    """A red and a blue picture, where the store of a run would have them."""
    from PIL import Image

    made = []
    for colour in ((200, 10, 10), (10, 10, 200)):
        name = bytes(colour).hex() * 5
        path = work / "pictures" / name[:2] / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (56, 56), colour).save(path)
        made.append(path)
    return made


if __name__ == "__main__":
    sys.exit(main())
