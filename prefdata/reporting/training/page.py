"""The part of a report that tells of trained stages, and a page of its own for stages without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefdata.errors import InputError
from prefdata.reporting import charts as plain
from prefdata.reporting import pages, pictures
from prefdata.reporting.numbers import rounded
from prefdata.reporting.policy import policy
from prefdata.reporting.texts import shown, visible
from prefdata.reporting.training import charts, stages, words
from prefdata.reporting.training.stages import Trained

SEVERITIES = ("critical", "major", "minor", "note")

GIB = 1024**3


def write_page(*folders: str | Path, path: str | Path | None = None) -> Path:
    """Writes report.html about finished stages, into the last one's folder unless `path` says where; gives its path.

    Raises InputError for a folder without a finished stage. The file is readable by its owner only: it holds answers.
    """
    found = []
    for folder in map(Path, folders):
        stage = stages.read(folder)
        if stage is None:
            raise InputError(f"{folder.name}: no stage.json; it holds no finished training stage")
        found.append(stage)
    return pages.write(render(found), Path(path) if path else Path(folders[-1]) / "report.html")


def render(found: Sequence[Trained]) -> str:
    """The page of these stages as HTML."""
    from markupsafe import Markup

    environment = pages.environment()
    environment.filters.update(shown=shown, visible=visible, number=number, count=count)
    style = "".join(
        environment.get_template(sheet).render() for sheet in ("style.css.jinja", "drawing.css", "training.css")
    )
    return environment.get_template("training_page.html.jinja").render(
        style=Markup(style), policy=policy(style), training=told(found), charts=plain, labelled=False
    )


def told(found: Sequence[Trained], run: Path | None = None) -> dict[str, Any]:
    """What training.html.jinja shows of the stages; `run` holds the thumbnails of the pictures in their samples."""
    samples = [one for stage in found for one in stage.samples]
    addresses = {address for one in samples for address in _shown_in(one["prompt"][-1]["content"])}
    drawn = pictures.by_address(run, addresses) if run is not None else {}
    return {"chains": stages.chains(found) if found else [], "stages": [_stage(one, drawn) for one in found]}


def _shown_in(content: Any) -> list[str]:
    """The addresses of the pictures in a message, whose content is a text or a list of blocks."""
    return [block["image"] for block in content if block["type"] == "image"] if isinstance(content, list) else []


def _sample(sample: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A sampled prompt with its answers, the last turn as a text, and the thumbnails of its pictures."""
    content = sample["prompt"][-1]["content"]
    last = content
    if isinstance(content, list):
        last = "".join("[picture] " if block["type"] == "image" else block["text"] for block in content)
    return {**sample, "last": last, "pictures": [drawn[one] for one in _shown_in(content) if one in drawn]}


def _stage(stage: Trained, drawn: Mapping[str, Any]) -> dict[str, Any]:
    record, metrics = stage.record, stage.metrics
    preflight = (record.get("preflight") or {}).get("findings", [])
    return {
        "name": stage.name,
        "method": words.NAMES.get(stage.method, stage.method),
        "does": words.DOES.get(stage.method, "was trained"),
        "record": record,
        "tiles": _tiles(stage),
        "findings": sorted(
            (record.get("monitor") or {}).get("findings", []), key=lambda one: SEVERITIES.index(one["severity"])
        ),
        "watched": "monitor" in record,
        "held": charts.held(stage),
        "spread": charts.spread(stage),
        "curves": charts.curves(stage),
        "samples": [_sample(one, drawn) for one in stage.samples],
        "preflight": preflight if "preflight" in record else None,
        "facts": facts(record),
        "memory": memory(record.get("memory") or {}),
        "stopped": metrics.get("stopped"),
    }


def _tiles(stage: Trained) -> list[tuple[str, str, str]]:
    record, metrics = stage.record, stage.metrics
    name = words.NAMES.get(stage.method, stage.method)
    found = [("method", name if stage.method == "reward" else name.upper(), visible(record["base"]["name"]))]
    found.append(("steps", count(metrics["steps"]), f"on {count(record['data']['used'])} rows"))
    canary = record.get("canary")
    if canary:
        same = f"expected {number(canary['expected'])} while policy and reference are one"
        found.append(("first loss", number(canary["found"]), same))
    asked = words.held(stage.method)
    if asked is None or asked.headline not in metrics.get("after", {}):
        return found
    for measure, called in {asked.headline: asked.called, **dict(list(asked.others.items())[:1])}.items():
        after, before = metrics["after"].get(measure), metrics.get("before", {}).get(measure)
        if after is None:
            continue
        was = f"; before {number(before['value'])}" if before else ""
        interval = f"95 %: {number(after['low'])} to {number(after['high'])}{was}"
        found.append((f"held-out {called}", number(after["value"]), interval))
    change = metrics.get("change", {}).get(asked.headline)
    if change and asked.reference is None:
        interval = f"95 %: {number(change['low'])} to {number(change['high'])}; {asked.better} is better"
        found.append((f"change of {asked.called}", f"{change['value']:+.3g}", interval))
    return found


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How a stage was trained, as names and values."""
    settings, data = record["settings"], record["data"]
    tuner = settings["tuner"]
    if tuner in ("lora", "dora", "qlora"):
        where = f", last {settings['lora_layers']} layers" if settings.get("lora_layers") else ", all layers"
        if "pictures" in record:
            where += "" if settings.get("lora_vision") else " of the language side"
        called = {"lora": "LoRA", "dora": "DoRA", "qlora": "QLoRA"}[tuner]
        tuner = f"{called}, rank {settings['lora_r']}, alpha {settings['lora_alpha']}{where}"
    left_out = [f"{number:,} {name.replace('_', ' ')}" for name, number in data["dropped"].items()]
    found = [("start model", f"{record['base']['name']}, sha256 {record['base']['sha256'][:16]}"), ("tuner", tuner)]
    if settings.get("loss_type"):
        loss = settings["loss_type"]
        loss = loss if isinstance(loss, str) else " + ".join(map(str, loss))
        found.append(("loss", loss + (f", beta {settings['beta']:g}" if settings.get("beta") is not None else "")))
    found += [
        ("learning rate", f"{settings['learning_rate']:g} ({record['learning_rate_source']})"),
        ("rows an update", f"{settings['per_device_batch']} x {settings['gradient_accumulation']}"),
    ]
    if "weights" in record:
        each = record["weights"]
        found.append(("class weights", f"desirable {each['desirable']:g}, undesirable {each['undesirable']:g}"))
    found += [
        ("longest row", f"{data['longest']:,} tokens; {data['shortened']:,} rows lost older turns"),
        ("rows left out", ", ".join(left_out) or "none"),
        ("numbers", f"{record['precision']} on {record['device']}, seed {settings['seed']}"),
    ]
    if "pictures" in record:
        seen = record["pictures"]
        of_rows = f"in {seen['rows_with']:,} of {seen['rows_with'] + seen['rows_without']:,} rows"
        found.append(
            ("pictures", f"{seen['different']:,} different {of_rows}; {seen['tokens_each']['mean']:g} tokens each")
        )
    if "sha256" in data:
        found.append(("hash of the rows", data["sha256"][:16]))
    reference = record.get("reference") or {}
    if "largest_change" in reference:
        proof = f"log-probability moved by at most {reference['largest_change']:g} in {reference['probes']} probes"
        found.append(("reference after training", proof))
    return found


def memory(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was foretold of the memory, as names and values."""
    if not isinstance(record.get("peak"), (int, float)):
        return []
    found = [("estimated peak memory", f"{record['peak'] / GIB:,.2f} GiB, {record.get('phase', '')}".rstrip(", "))]
    longest = record.get("longest") or {}
    if longest.get("tokens"):
        found.append(("row that sets it", f"{longest.get('id') or 'the longest'}, {longest['tokens']:,} tokens"))
    return found


def count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def number(value: Any) -> str:
    """A number with four digits; anything else as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    value = rounded(value) or 0
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
