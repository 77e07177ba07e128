"""Pictures a second: gate, relevance and duplicates here, beside data-juicer's filter by CLIP and its deduplicator.

    python benchmarks/images.py [--pictures 1000] [--names 50000] [--model vit-b-32] [--work .peers/images]
    python benchmarks/images.py --run 1000,10000 [--work .peers/images]

Both read the same JPEG files (640 x 480, drawn here, all different) with a caption each, and the same CLIP: ViT-B-32's
architecture with random weights, as safetensors for open_clip and, turned into transformers' names, for data-juicer;
that both give the same cosines is checked. Data-juicer runs in `.peers/juicer` as its users run it: `dj-process` with
`image_text_similarity_filter` and `image_deduplicator` (phash), two processes of one thread; what its log gives as the
time of the two operators is counted. Here: `Gate.look` with two workers, every picture checked, measured, hashed and
stored again, `ClipRelevance` on two threads, and `PictureDuplicates` over all pictures whatever is said of them, from
the start of the workers and the loading of the model to the last cluster. Both run on the same two cores. Then the
same pictures under many names (links), as a crawl has them: a picture is decoded and embedded once. Memory is the sum
of what each process had at most (VmHWM), which is no less than what all had together.

With `--run` nothing of that: whole runs over so many pictures that all differ, and their memory (picture_runs.py).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
JUICER = ROOT / ".peers" / "juicer" / "bin"
SIZE = (640, 480)
CHUNK = 1000
"""Rows that are read, looked at and scored at a time."""

SHAPES = {
    "vit-b-32": {
        "embed_dim": 512,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
    },
    "small": {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 224, "layers": 2, "width": 128, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
    },
}


# ---------------------------------------------------------------- pictures


def draw(folder: Path, count: int) -> list[str]:
    """`count` different photo-like JPEG files; those that are there are kept."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{at:06d}.jpg" for at in range(count)]
    for at, name in enumerate(names):
        if (folder / name).exists():
            continue
        rng = np.random.default_rng(at)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
            SIZE, Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 6, (SIZE[1], SIZE[0], 1))
        values = np.clip(np.asarray(coarse, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / name, quality=90)
    return names


def linked(folder: Path, pictures: Path, names: list[str], count: int) -> list[str]:
    """`count` names for the pictures: the same files over and over, as hard links in folders of a thousand."""
    found = []
    for at in range(count):
        name = f"{at // 1000:03d}/{at:06d}.jpg"
        file = folder / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(pictures / names[at % len(names)], file)
        found.append(name)
    return found


def caption(at: int) -> str:
    words = ("red", "green", "blue", "grey", "bright", "dark", "soft", "wide", "calm", "cold")
    return f"a {words[at % 10]} field under a {words[at // 10 % 10]} sky, number {at}"


# ---------------------------------------------------------------- the model, twice


def write_models(folder: Path, shape: str) -> tuple[Path, Path]:
    """The same weights for open_clip and for transformers."""
    import open_clip
    import torch
    from open_clip.tokenizer import SimpleTokenizer
    from safetensors.torch import save_file

    ours, theirs = folder / "open_clip", folder / "transformers"
    if (theirs / "done").exists():
        return ours, theirs
    for one in (ours, theirs):
        shutil.rmtree(one, ignore_errors=True)
        one.mkdir(parents=True)
    config = SHAPES[shape]
    (ours / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    open_clip.add_model_config(_named(folder, config))
    torch.manual_seed(0)
    model = open_clip.create_model("benchmark-clip", pretrained=None)
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != "attn_mask"}
    save_file(weights, ours / "open_clip_model.safetensors")
    _write_transformers(theirs, config, weights, SimpleTokenizer())
    (theirs / "done").touch()
    return ours, theirs


def _named(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "benchmark-clip.json"
    file.write_text(json.dumps(config))
    return file


def _write_transformers(folder: Path, config: dict[str, Any], weights: dict[str, Any], tokenizer: Any) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    vision, text = config["vision_cfg"], config["text_cfg"]
    start, end = tokenizer.encoder["<start_of_text>"], tokenizer.encoder["<end_of_text>"]
    made = CLIPConfig(
        projection_dim=config["embed_dim"],
        vision_config={
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // 64,
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "projection_dim": config["embed_dim"],
        },
        text_config={
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
            "bos_token_id": start,
            "eos_token_id": end,
            "pad_token_id": end,
            "projection_dim": config["embed_dim"],
        },
    )
    model = CLIPModel(made)
    named = renamed(weights, model.state_dict())
    # data-juicer divides what the model gives by 100, which this scale makes a cosine of
    named["logit_scale"] = named["logit_scale"].new_tensor(math.log(100))
    missing = model.load_state_dict(named, strict=False)
    assert not missing.unexpected_keys, missing.unexpected_keys
    assert all("position_ids" in name for name in missing.missing_keys), missing.missing_keys
    model.save_pretrained(folder, safe_serialization=True)
    words = dict(tokenizer.encoder)
    words |= {"<|startoftext|>": words.pop("<start_of_text>"), "<|endoftext|>": words.pop("<end_of_text>")}
    (folder / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    merges = [" ".join(pair) for pair, _ in sorted(tokenizer.bpe_ranks.items(), key=lambda entry: entry[1])]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    size = vision["image_size"]
    pictures = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    texts = CLIPTokenizer.from_pretrained(folder, model_max_length=text["context_length"])
    CLIPProcessor(image_processor=pictures, tokenizer=texts).save_pretrained(folder)


RENAMED = (
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def renamed(weights: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """open_clip's weights under transformers' names; those of attention are one matrix there and three here."""
    found: dict[str, Any] = {}
    for name, value in weights.items():
        if name == "visual.proj":
            found["visual_projection.weight"] = value.T.contiguous()
        elif name == "text_projection":
            found["text_projection.weight"] = value.T.contiguous()
        else:
            for old, new in RENAMED:
                name = re.sub(old, new, name)
            if ".attn.in_proj_" in name:
                head, kind = name.split(".attn.in_proj_")
                for part, piece in zip("qkv", value.chunk(3), strict=True):
                    found[f"{head}.self_attn.{part}_proj.{kind}"] = piece.contiguous()
            else:
                found[name] = value
    return {name: value.reshape(expected[name].shape) if name in expected else value for name, value in found.items()}


# ---------------------------------------------------------------- ours, in a process of its own


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Gate and relevance of the named pictures; seconds, cosines of the first, peak memory."""
    from filters.clip import ClipRelevance
    from prefdata.dedup.images import PictureDuplicates
    from prefdata.pictures import Address, Gate, GateSettings, Pictures
    from prefdata.schema import IMAGE

    if job["model"]:
        import open_clip  # noqa: F401  # data-juicer's operators are counted from after the import of torch, too
    folder, run = Path(job["folder"]), Path(job["run"])
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    names, texts = job["names"], job["texts"]
    scores: list[float] = []
    looks: list[pl.DataFrame] = []
    gate_seconds = 0.0
    peaks: dict[int, int] = {}
    begun = time.perf_counter()
    scorer = ClipRelevance(model=job["model"]).build().scorer if job["model"] else None
    with Gate(GateSettings(workers=2, store=job["store"]), store=run) as gate:
        for start in range(0, len(names), CHUNK):
            before = time.perf_counter()
            table = gate.look([Address(folder, name) for name in names[start : start + CHUNK]])
            gate_seconds += time.perf_counter() - before
            assert table["reason"].null_count() == table.height
            looks.append(table.select(id="address", reply=pl.lit(""), customer=pl.lit(""), pictures=shown(run)))
            table.write_parquet(run / f"pictures_{start:06d}.parquet")
            if scorer is not None:
                rows = [[{"uri": uri, "side": "completion", "message": 0, "part": 0}] for uri in table["uri"]]
                seen = Pictures(table, run).seen(pl.Series("images", rows, dtype=pl.List(IMAGE)), ["completion"])
                items = pl.DataFrame({"text": texts[start : start + CHUNK], "pictures": seen})
                found = scorer.score(items)["clip"]
                scores += found.head(max(0, 8 - len(scores))).to_list()
            peaks |= {process: most_resident(process) for process in gate.pool.processes}
    before = time.perf_counter()
    distinct = different(pl.concat(looks), PictureDuplicates(answers="any").build())
    ended = time.perf_counter()
    peaks[os.getpid()] = most_resident(os.getpid())
    return {
        "seconds": ended - begun,
        "gate": gate_seconds,
        "duplicates": ended - before,
        "scores": scores,
        "peak": sum(peaks.values()),
        "distinct": distinct,
    }


def shown(run: Path) -> pl.Expr:
    """The one picture of each row as groupings read it."""
    path = pl.concat_str(pl.lit(f"{run}/"), "uri").alias("path")
    return pl.concat_list(pl.struct(path, "pixels", "width", "height", "phash", "fingerprint"))


def different(rows: pl.DataFrame, grouping: Any) -> int:
    """How many pictures are left of the rows when each cluster keeps one."""
    edges = grouping.edges(grouping.keys(rows))
    groups = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
    return rows.height - groups.height + groups["cluster"].n_unique()


def most_resident(process: int) -> int:
    """Bytes that a process had in memory at most."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) * 1024


def keep_to(cores: int) -> list[int]:
    """Keeps this process and all it starts to the first `cores` cores that it has; which they are."""
    taken = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, taken)
    return taken


def measured(job: dict[str, Any], work: Path) -> dict[str, Any]:
    """What `ours` says of a job, from a fresh process with two threads."""
    file = work / "job.json"
    file.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, __file__, "--job", str(file)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "2", "POLARS_MAX_THREADS": "2", "HF_HUB_OFFLINE": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------- data-juicer


def juicer(folder: Path, names: list[str], texts: list[str], model: Path, work: Path) -> dict[str, Any]:
    """Seconds of the two operators by data-juicer's own log, and its cosines."""
    out = work / "juicer"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    rows = [
        {"images": [str(folder / name)], "text": f"<__dj__image> {text} <|__dj__eoc|>"}
        for name, text in zip(names, texts, strict=True)
    ]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "project_name": "pictures",
        "dataset_path": str(out / "rows.jsonl"),
        "export_path": str(out / "kept.jsonl"),
        "keep_stats_in_res_ds": True,
        "np": 2,
        "use_cache": False,
        "open_tracer": False,
        "open_monitor": False,
        "process": [
            {"image_text_similarity_filter": {"hf_clip": str(model), "min_score": -1.0, "max_score": 1.0}},
            {"image_deduplicator": {"method": "phash"}},
        ],
    }
    (out / "recipe.yaml").write_text(json.dumps(recipe))
    begun = time.perf_counter()
    done = subprocess.run(
        [str(JUICER / "dj-process"), "--config", str(out / "recipe.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=out,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HOME": str(out), "HF_HOME": str(out)},
        check=False,
    )
    whole = time.perf_counter() - begun
    (out / "log.txt").write_text(done.stdout)
    times = [float(found) for found in re.findall(r"OP \[\w+\] Done in ([0-9.]+)s", done.stdout)]
    if done.returncode or len(times) != 2:
        raise SystemExit(f"data-juicer failed, see {out / 'log.txt'}")
    kept = [json.loads(line) for line in (out / "kept.jsonl").read_text().splitlines()]
    by_name = {Path(row["images"][0]).name: row for row in kept}
    scores = [by_name[name]["__dj__stats__"]["image_text_similarity"][0] for name in names[:8] if name in by_name]
    return {"seconds": sum(times), "operators": times, "whole": whole, "scores": scores, "kept": len(kept)}


# ---------------------------------------------------------------- the table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000, help="different pictures (1000)")
    parser.add_argument(
        "--names", type=int, default=50_000, help="names for them in the second part (50000; 0: without)"
    )
    parser.add_argument("--model", choices=sorted(SHAPES), default="vit-b-32")
    parser.add_argument("--work", type=Path, default=ROOT / ".peers" / "images")
    parser.add_argument("--run", type=numbers, help="memory of runs over so many different pictures, e.g. 1000,10000")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        from picture_runs import table

        table(given.run, given.work.resolve())
        return
    if given.job is not None:
        print(json.dumps(ours(json.loads(given.job.read_text()))))
        return
    cores = keep_to(2)
    work = given.work.resolve()
    pictures = work / "pictures"
    names = draw(pictures, given.pictures)
    texts = [caption(at) for at in range(given.pictures)]
    model, same_model = write_models(work / given.model, given.model)
    job = {"folder": str(pictures), "run": str(work / "run"), "names": names, "texts": texts, "store": "encode"}
    whole = measured({**job, "model": str(model)}, work)
    alone = measured({**job, "model": None, "store": "none"}, work)
    print(f"{given.pictures} JPEG pictures of {SIZE[0]} x {SIZE[1]}, CLIP {given.model} with random weights,", end=" ")
    print(f"{len(cores)} cores\n")
    print("| what | seconds | pictures a second |\n|---|---:|---:|")
    row("gate, relevance and duplicates, stored again", whole["seconds"], given.pictures)
    row("of it the gate", whole["gate"], given.pictures)
    row("of it the duplicates", whole["duplicates"], given.pictures)
    row("gate and duplicates alone, nothing stored (`store: none`)", alone["seconds"], given.pictures)
    if (JUICER / "dj-process").exists():
        peer = juicer(pictures, names, texts, same_model, work)
        row("data-juicer: relevance and duplicates", peer["seconds"], given.pictures)
        row("of it the relevance", peer["operators"][0], given.pictures)
        row("of it hash and duplicates", peer["operators"][1], given.pictures)
        apart = max(abs(one - other) for one, other in zip(whole["scores"], peer["scores"], strict=True))
        print(f"\nours is {peer['seconds'] / whole['seconds']:.2f} x as fast; cosines differ by {apart:.4f} at most")
        print(f"(loading and writing of rows included, data-juicer took {peer['whole']:.1f} s)")
    else:
        print("\ndata-juicer is left out: no .peers/juicer, which `make .peers/juicer/ready` makes")
    if given.names:
        many = linked(work / f"names_{given.pictures}", pictures, names, given.names)
        again = [caption(at % given.pictures) for at in range(given.names)]
        repeated = {"folder": str(work / f"names_{given.pictures}"), "names": many, "texts": again, "model": str(model)}
        found = measured({**job, **repeated}, work)
        print(f"\n{given.names} names of the same pictures: {found['seconds']:.1f} s,", end=" ")
        print(f"{given.names / found['seconds']:.0f} names a second, {found['distinct']} different pictures")
        print(f"memory with its workers, at most: {whole['peak'] / 2**20:.0f} MiB at {given.pictures} names,", end=" ")
        print(f"{found['peak'] / 2**20:.0f} MiB at {given.names}")


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between."""
    return [int(one) for one in text.split(",")]


def row(what: str, seconds: float, count: int) -> None:
    print(f"| {what} | {seconds:.1f} | {count / seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
