"""Datasets as sources of a run: read, identified, built into the run's type, with an account of every candidate."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

import prefdata
from prefdata.cli import last_line
from prefdata.erase import erase
from prefdata.errors import InputError, QuarantineError, RecipeError
from prefdata.explain import explain, told
from prefdata.reporting.accounts import ENDS
from prefdata.runner import dropped_rows, kept_rows


def sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files, small_log = sibling("dataset_files"), sibling("small_log")

QUIET = "filters: []\ngroupings: []\n"


def recipe(tmp_path: Path, text: str, *, name: str = "recipe") -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def one(tmp_path: Path, source: str = "format: trl", more: str = QUIET, name: str = "recipe") -> Path:
    return recipe(tmp_path, f"sources:\n  - {{name: data, path: data.jsonl, {source}}}\n{more}", name=name)


def run(path: Path, out: Path, **options: Any) -> dict[str, Any]:
    prefdata.run(path, out=out, train=False, **options)
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for account in report["accounts"]:
        assert account["all"] == sum(account[end] for end in ENDS)
    return report


def ends(report: dict[str, Any]) -> dict[str, int]:
    (account,) = report["accounts"]
    return {end: account[end] for end in ("all", *ENDS) if account[end]}


def decided(path: Path) -> dict[str, Any]:
    report = json.loads((path / "report.json").read_text())
    report["recipe"].pop("shard_rows")
    return {
        "kept": kept_rows(path).to_dicts(),
        "dropped": dropped_rows(path).to_dicts(),
        "unmade": pl.read_parquet(path / "unmade.parquet").to_dicts(),
        "report": report,
        "export": (path / "exports/trl/train.parquet").read_bytes(),
    }


def test_the_last_line_counts_what_was_refused(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [*files.pairs(4), {"prompt": "Hm?", "chosen": "Yes."}])
    result = prefdata.run(one(tmp_path), out=tmp_path / "run", train=False)
    assert result.refused == 1
    assert "0 quarantined and 1 refused of 5 units read" in last_line(result)
    assert "0 quarantined of 5 units read" in last_line(result._replace(refused=0))


def test_where_no_picture_is_found_the_folder_that_was_searched_is_named(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [{"image": "a.png", "caption": "A dot."}, {"image": "b.png", "caption": "A."}])
    path = one(tmp_path, "format: captions", f"type: sft\npictures: {{root: photos}}\n{QUIET}")
    with pytest.raises(InputError, match=r'"not_there": 2.*below \S+/photos \(no such folder\); another .*root: ...'):
        run(path, tmp_path / "run")
    turns = [{"session": "1", "role": "customer", "text": "See?", "files": "a.png"}]
    files.write(tmp_path / "log.jsonl", [*turns, {"session": "1", "role": "agent", "text": "I see."}])
    layout = "{events: {columns: {session: session, role: role, text: text, attachments: files}}}"
    source = f"sources:\n  - {{name: log, path: log.jsonl, layout: {layout}}}\n{QUIET}"
    with pytest.raises(InputError, match=r"all 1 replies stand in .* picture was refused; .*; another folder is named"):
        prefdata.run(recipe(tmp_path, source, name="log"), out=tmp_path / "other", train=False)


def test_columns_of_other_names_than_a_format_knows_are_asked_for(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [{"foto": "a.png", "satz": "A dot."}])
    with pytest.raises(RecipeError, match=r"say which column is what \(`columns` of captions\), or give `type`"):
        run(one(tmp_path, "format: captions", f"type: sft\n{QUIET}"), tmp_path / "run")


def test_every_record_has_its_end(tmp_path: Path) -> None:
    odd = ["{broken", {"prompt": "Same?", "chosen": "Yes.", "rejected": "Yes."}, {"prompt": "Hm?", "chosen": "Yes."}]
    files.write(tmp_path / "data.jsonl", [*files.pairs(20), *odd])
    report = run(one(tmp_path), tmp_path / "run")
    assert ends(report) == {"all": 23, "kept": 20, "unmade": 1, "refused": 1, "quarantined": 1}
    (fate,) = report["fates"]
    assert {name: number for name, number in fate.items() if number} == {
        "source": "data",
        "file": "data.jsonl",
        "row": 21,
        "refused": 1,
        "quarantined": 1,
        "units": 23,
    }
    unmade = pl.read_parquet(tmp_path / "run/unmade.parquet")
    assert unmade.select("step", "line").rows() == [("building", 22), ("reading", 23)]
    assert unmade["reasons"][0].to_list() == ["equal_sides"]
    life = explain(tmp_path / "run", unmade["id"][0])
    assert told(life).splitlines()[1] == "  data.jsonl line 22: equal_sides"
    assert json.loads((tmp_path / "run/run.json").read_text())["accounts"] == report["accounts"]


def test_too_much_that_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [*files.pairs(10), "{broken"])
    with pytest.raises(QuarantineError, match="1 of 11 units could not be read"):
        run(one(tmp_path), tmp_path / "run")


def test_a_set_of_which_nothing_is_a_row_is_an_error_that_says_why(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [{"prompt": "Same?", "chosen": "Yes.", "rejected": "Yes."}])
    with pytest.raises(InputError, match="equal_sides"):
        run(one(tmp_path), tmp_path / "run")


def test_shards_threads_and_the_order_of_lines_change_nothing(tmp_path: Path) -> None:
    rows = [*files.pairs(40), *files.pairs(3), {"prompt": "Same?", "chosen": "Yes.", "rejected": "Yes."}]
    files.write(tmp_path / "data.jsonl", rows)
    path = one(tmp_path, more="")
    run(path, tmp_path / "a")
    run(one(tmp_path, more="shard_rows: 7\n"), tmp_path / "b", threads=2)
    assert decided(tmp_path / "a") == decided(tmp_path / "b")
    before = kept_rows(tmp_path / "a").select("id", "split")
    files.write(tmp_path / "data.jsonl", [*rows[::-1]])
    run(path, tmp_path / "c")
    assert kept_rows(tmp_path / "c").select("id", "split").equals(before)


def test_appended_rows_change_no_id_and_move_no_row(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", files.pairs(30))
    path = one(tmp_path)
    run(path, tmp_path / "run")
    before = kept_rows(tmp_path / "run").select("id", "split")
    files.write(tmp_path / "data.jsonl", files.pairs(60))
    run(path, tmp_path / "run")
    after = kept_rows(tmp_path / "run").select("id", "split")
    assert after.height == 60
    assert after.join(before, on="id", how="semi").equals(before)


def test_a_run_that_was_broken_off_ends_the_same(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", files.pairs(20))
    path = one(tmp_path, more="")
    run(path, tmp_path / "whole")
    calls = 0

    def stop(step: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, tmp_path / "broken", progress=stop)
    run(path, tmp_path / "broken")
    assert decided(tmp_path / "broken") == decided(tmp_path / "whole")


def test_a_format_that_is_recognised_tells_why(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", files.pairs(5))
    (account,) = run(one(tmp_path, "format: auto"), tmp_path / "run")["accounts"]
    assert (account["read_as"], account["type"]) == ("trl", "preference")
    assert account["because"] == ["columns chosen, rejected"]


def test_what_can_be_read_in_several_ways_is_an_error(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [{"text": "nothing that a format knows"}])
    with pytest.raises(InputError, match="no format recognises these columns"):
        run(one(tmp_path, "format: auto"), tmp_path / "run")
    said = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    both = [{"instruction": "Where?", "input": "", "output": "There.", "messages": said}]
    files.write(tmp_path / "data.jsonl", both)
    with pytest.raises(RecipeError) as error:
        run(one(tmp_path, "format: auto"), tmp_path / "run")
    assert str(error.value).splitlines() == [
        "source data: can be read in 2 ways; say which",
        "  - `format` trl `type` prompt_completion: column messages: lists of role and content",
        "  - `format` alpaca `type` prompt_completion: columns instruction, output: text",
    ]
    report = run(one(tmp_path, "format: alpaca, type: sft"), tmp_path / "run")
    assert report["recipe"]["type"] == "prompt_completion"
    assert report["recipe"]["sources"][0]["format"]["name"] == "alpaca"


@pytest.mark.parametrize(
    ("made", "kept", "unmade"),
    [
        ("preference", 12, {}),
        ("unpaired", 24, {}),
        ("sft", 12, {}),
        ("prompt", 12, {}),
    ],
)
def test_pairs_become_every_type(tmp_path: Path, made: str, kept: int, unmade: dict[str, int]) -> None:
    files.write(tmp_path / "data.jsonl", files.pairs(12))
    report = run(one(tmp_path, more=f"type: {made}\n{QUIET}"), tmp_path / "run")
    assert ends(report) == {"all": kept, "kept": kept}
    rows = kept_rows(tmp_path / "run")
    answers = {"preference": "chosen", "unpaired": "completion", "sft": "completion"}
    if made in answers:
        said = rows[answers[made]].list.first().struct.field("content").to_list()
        assert sorted(said) == sorted(
            [files.good(n) for n in range(12)] + ([files.bad(n) for n in range(12)] if made == "unpaired" else [])
        )
    life = explain(tmp_path / "run", rows["id"][0])
    assert life["kept"]
    assert files.question(0)[:9] in told({**life, "prompt": [{"role": "user", "content": files.question(0)}]})


def test_labelled_answers_keep_their_labels(tmp_path: Path) -> None:
    rows = [{**row, "label": "good" if row["label"] else "poor"} for row in files.labelled(10)]
    files.write(tmp_path / "data.jsonl", rows)
    source = "format: trl, type: unpaired, labels: {good: true, poor: false}"
    report = run(one(tmp_path, source), tmp_path / "run")
    assert (report["counts"]["kept_desirable"], report["counts"]["kept_undesirable"]) == (10, 10)
    assert report["card"] == {"method": "given", "given": 20}
    assert report["weights"]["ratio"] is not None
    report = run(one(tmp_path, source, f"type: sft\n{QUIET}"), tmp_path / "sft")
    assert ends(report) == {"all": 20, "kept": 10, "unmade": 10}
    assert report["accounts"][0]["unmade_because"] == {"undesirable": 10}


def test_opposite_labels_of_one_question_become_pairs(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", files.labelled(8))
    report = run(one(tmp_path, more=f"type: preference\n{QUIET}"), tmp_path / "run")
    assert report["accounts"][0]["kept"] == 8
    row = kept_rows(tmp_path / "run").row(0, named=True)
    meta = json.loads(row["meta"])
    assert meta["file"] == "data.jsonl"
    assert (meta["line"], meta["chosen"]["line"], meta["rejected"]["line"]) == (
        meta["chosen"]["line"],
        meta["chosen"]["line"],
        meta["chosen"]["line"] + 1,
    )
    assert json.loads(row["evidence"])["by"] == "matched_turns"


def test_a_log_and_a_dataset_stand_in_one_run(tmp_path: Path) -> None:
    small_log.write_log(tmp_path)
    text = small_log.write_recipe(tmp_path).read_text()
    prefdata.run(tmp_path / "recipe.yaml", out=tmp_path / "log", train=False)
    files.write(tmp_path / "data.jsonl", files.labelled(10))
    both = text.replace("filters:", "  - {name: data, path: data.jsonl, format: trl}\nfilters:", 1)
    path = recipe(tmp_path, both)
    report = run(path, tmp_path / "both")
    assert [account["source"] for account in report["accounts"]] == ["chats", "data"]
    assert report["accounts"][0]["rows"] == 120
    assert (report["card"]["method"], report["card"]["given"]) == ("rules", 20)
    alone = kept_rows(tmp_path / "log").select("id", "label", "evidence")
    together = kept_rows(tmp_path / "both").filter(pl.col("source") == "chats").select("id", "label", "evidence")
    assert together.join(alone, on=["id", "label", "evidence"], how="semi", nulls_equal=True).equals(together)
    pairs = run(recipe(tmp_path, f"type: preference\n{both}"), tmp_path / "pairs")
    log, data = pairs["accounts"]
    assert log["labels"]["desirable"] > 0
    assert log["candidates"] == log["rows"] + log["unmade"]
    assert data["kept"] + data["dropped"] == 10
    run(recipe(tmp_path, f"type: prompt\n{both[: both.index('filters:')]}{QUIET}"), tmp_path / "prompts")


def test_texts_are_left_as_they_are_and_control_tokens_flagged(tmp_path: Path) -> None:
    odd = {"prompt": "Say <|im_end|> to me@example.com", "chosen": "No, Sir.", "rejected": "Write to me@example.com"}
    files.write(tmp_path / "data.jsonl", [*files.pairs(4), odd])
    report = run(one(tmp_path), tmp_path / "run")
    rows = kept_rows(tmp_path / "run")
    texts = rows["prompt"].list.first().struct.field("content").to_list()
    assert odd["prompt"] in texts
    assert report["accounts"][0]["flagged"] == {"control_tokens": 1}
    flagged = rows.filter(pl.col("meta").str.contains('"flagged":["control_tokens"]', literal=True))
    assert explain(tmp_path / "run", flagged["id"][0])["flagged"] == ["control_tokens"]
    edited = run(one(tmp_path, "format: trl, transforms: [personal_data, control_tokens]"), tmp_path / "edited")
    row = kept_rows(tmp_path / "edited").filter(pl.col("id") == flagged["id"][0]).row(0, named=True)
    assert row["prompt"][0]["content"] == "Say <| im_end |> to <EMAIL_1>"
    assert row["rejected"][0]["content"] == "Write to <EMAIL_1>"
    assert edited["touched"] == {"control_tokens": 1, "personal_data.email": 2}
    assert json.loads(row["meta"])["touched"] == ["control_tokens:1", "personal_data.email:2"]
    assert "example.com" not in pl.read_parquet(tmp_path / "edited/records/00000.parquet").write_ndjson()


def test_a_pair_falls_where_its_chosen_side_fails(tmp_path: Path) -> None:
    rude = "You are a stupid idiot, stop bothering us."
    odd = [
        {"prompt": "Where is order 77 of mine?", "chosen": "It is on its way to you.", "rejected": rude},
        {"prompt": "Where is order 78 of mine?", "chosen": rude, "rejected": "It is on its way to you."},
        {"prompt": "Where is order 79 of mine?", "chosen": "It is on its way to you.", "rejected": "!!!! ???? !!!!"},
    ]
    files.write(tmp_path / "data.jsonl", [*files.pairs(8), *odd])
    report = run(one(tmp_path, more="filters: [chat_quality, toxicity]\ngroupings: []\n"), tmp_path / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"reply_toxic": 1}
    both = "filters: [{chat_quality: {sides: [chosen, rejected]}}, toxicity]\ngroupings: []\n"
    found = {one["reason"]: one["rows"] for one in run(one(tmp_path, more=both), tmp_path / "both")["reasons"]}
    assert found == {"reply_toxic": 1, "reply_has_too_few_letters": 1, "reply_too_short": 1}


def test_a_ranking_with_one_long_answer_has_no_duplicates_and_opposite_pairs_conflict(tmp_path: Path) -> None:
    ask, long = "How do I clean the filter of it?", " ".join(f"Step {n}: turn part {n} to the left." for n in range(40))
    short = ["Read the manual, page nine.", "I would not know how, sorry."]
    other = "When is the shop at the station open on Sundays?"
    rows = [
        {"prompt": ask, "chosen": long, "rejected": short[0]},
        {"prompt": ask, "chosen": short[1], "rejected": long},
        {"prompt": other, "chosen": "From ten to six, the whole year.", "rejected": "It may be closed on Sundays."},
        {"prompt": other, "chosen": "It may be closed on Sundays.", "rejected": "From ten to six, the whole year."},
        {
            "prompt": other + "!",
            "chosen": "It may be closed on Sundays.",
            "rejected": "From ten to six, the whole year",
        },
        *files.pairs(4),
        *files.pairs(1),
    ]
    files.write(tmp_path / "data.jsonl", rows)
    report = run(one(tmp_path, more="filters: []\n"), tmp_path / "run")
    reasons = {one["reason"]: one["rows"] for one in report["reasons"]}
    assert reasons == {"conflicting_labels": 3, "exact_duplicates": 1, "near_duplicates": 1}
    assert report["counts"]["kept"] == 2 + 4


def test_customers_of_a_dataset_are_hashed_kept_together_and_can_be_erased(tmp_path: Path) -> None:
    rows = [{**row, "customer": f"C{n % 5}"} for n, row in enumerate(files.pairs(40))]
    files.write(tmp_path / "data.jsonl", rows)
    report = run(one(tmp_path, more=f"mix: {{per_customer: 6}}\n{QUIET}"), tmp_path / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"over_cap_customer": 10}
    found = kept_rows(tmp_path / "run").with_columns(customer=pl.col("meta").str.json_path_match("$.customer"))
    assert found["customer"].n_unique() == 5
    assert found.group_by("customer").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 5
    done = erase(tmp_path / "run", "C3")
    assert done.found.rows.height == 8
    after = json.loads((tmp_path / "run/report.json").read_text())
    assert ends(after) == {"all": 40, "kept": 24, "dropped": 8, "erased": 8}
    again = run(one(tmp_path, more=f"mix: {{per_customer: 6}}\n{QUIET}"), tmp_path / "run")
    assert again == after


def test_a_mixture_leaves_rows_out_with_their_reasons(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", files.pairs(30))
    files.write(tmp_path / "more.jsonl", files.pairs(12, start=100))
    sources = """
sources:
  - {name: data, path: data.jsonl, format: trl}
  - {name: more, path: more.jsonl, format: trl}
"""
    plain = run(recipe(tmp_path, f"{sources}{QUIET}"), tmp_path / "plain")
    assert plain["counts"]["kept"] == 42
    path = recipe(tmp_path, f"{sources}{QUIET}mix: {{weights: {{data: 1, more: 1}}, size: 20}}\n")
    mixed = run(path, tmp_path / "mixed")
    assert kept_rows(tmp_path / "mixed").group_by("source").len().sort("source").rows() == [("data", 10), ("more", 10)]
    assert [(one["source"], one["wanted"], one["given"]) for one in mixed["mix"]] == [
        ("data", 10, 10),
        ("more", 10, 10),
    ]
    assert {one["reason"]: one["rows"] for one in mixed["reasons"]} == {"over_share": 22}
    left_out = dropped_rows(tmp_path / "mixed")["id"][0]
    assert explain(tmp_path / "mixed", left_out)["reasons"] == ["over_share"]
    same = kept_rows(tmp_path / "mixed").select("id", "split")
    assert kept_rows(tmp_path / "plain").select("id", "split").join(same, on="id", how="semi").equals(same)
    from prefdata.diff import diff

    steps = diff(tmp_path / "plain", tmp_path / "mixed")["steps"]
    assert steps == {"came": [], "went": [{"step": "mix", "reason": "over_share", "rows": 22}]}
    short = recipe(tmp_path, f"{sources}{QUIET}mix: {{weights: {{data: 1, more: 3}}, size: 40}}\n")
    assert [one["given"] for one in run(short, tmp_path / "short")["mix"]] == [28, 12]


def test_a_type_that_only_the_file_tells_must_reach_what_the_run_makes(tmp_path: Path) -> None:
    files.write(tmp_path / "data.jsonl", [{"prompt": files.question(n), "completion": files.good(n)} for n in range(5)])
    with pytest.raises(RecipeError, match="source data: sft rows cannot become preference; they can be: sft, prompt"):
        run(one(tmp_path, "format: auto", f"type: preference\n{QUIET}"), tmp_path / "run")
    report = run(one(tmp_path, "format: auto", f"type: prompt\n{QUIET}"), tmp_path / "prompts")
    assert ends(report) == {"all": 5, "kept": 5}
    with pytest.raises(RecipeError, match=r"export\[0\]: halos does not hold sft rows"):
        run(one(tmp_path, "format: auto", f"export: [halos]\n{QUIET}"), tmp_path / "sft")


def test_prompts_are_compared_by_what_was_said_before(tmp_path: Path) -> None:
    def talk(first: str) -> list[dict[str, str]]:
        said = (("system", "Be kind."), ("user", first), ("assistant", "One moment."), ("user", "Yes please, do that."))
        return [{"role": role, "content": text} for role, text in said]

    texts = [files.question(0), files.question(1), files.question(1) + " "]
    files.write(tmp_path / "data.jsonl", [{"prompt": talk(text)} for text in texts])
    report = run(one(tmp_path, "format: trl, type: prompt", ""), tmp_path / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"exact_duplicates": 1, "near_duplicates": 1}
    assert [entry["name"] for entry in report["recipe"]["filters"]] == ["language"]
    assert "held-out rows are of one class" not in (tmp_path / "run/report.html").read_text(encoding="utf-8")


def test_the_same_question_about_another_picture_is_another_prompt(tmp_path: Path) -> None:
    def shown(picture: str, answer: str) -> dict[str, Any]:
        part = [{"type": "image"}, {"type": "text", "text": "What is to be seen in this picture of my order?"}]
        prompt = [{"role": "user", "content": part}]
        return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}], "images": [picture]}

    lamp = "A lamp whose shade is broken on the left side."
    rows = [shown("a.png", lamp), shown("b.png", lamp), shown("b.png", lamp + " "), shown("c.png", "A kettle.")]
    files.write(tmp_path / "data.jsonl", rows)
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    report = run(one(tmp_path, "format: trl, type: sft", "filters: []\n"), tmp_path / "run")
    assert {one["reason"]: one["rows"] for one in report["reasons"]} == {"exact_duplicates": 1}
    splits = pl.read_parquet(tmp_path / "run/splits.parquet")
    assert splits["group"].n_unique() == 3


def test_a_customer_of_the_worse_reply_takes_the_pair_along(tmp_path: Path) -> None:
    rows = [
        {**row, "customer": f"{'good' if row['label'] else 'bad'} {n // 2}"} for n, row in enumerate(files.labelled(8))
    ]
    files.write(tmp_path / "data.jsonl", rows)
    path = one(tmp_path, more=f"type: preference\n{QUIET}")
    run(path, tmp_path / "run")
    assert erase(tmp_path / "run", "bad 3").found.rows.height == 1
    assert run(path, tmp_path / "run")["counts"]["kept"] == 7
    with pytest.raises(InputError, match="no row of this customer"):
        erase(tmp_path / "run", "bad 3")
