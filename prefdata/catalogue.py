"""Names that a recipe may use, and the class behind each: one table a kind, loaded when a name is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from prefdata.errors import UnknownNameError

LAYOUTS = {
    "events": "prefdata.logs.layout_events:Events",
    "conversations": "prefdata.logs.layout_conversations:Conversations",
    "replies": "prefdata.logs.layout_replies:Replies",
    "transcript": "prefdata.logs.layout_transcript:Transcript",
}

TRANSFORMS = {
    "unicode": "prefdata.transforms.unicode:Unicode",
    "personal_data": "prefdata.transforms.personal_data:PersonalData",
    "control_tokens": "prefdata.transforms.control_tokens:ControlTokens",
}

FILTERS = {
    "chat_quality": "filters.quality:ChatQuality",
    "language": "filters.language:Language",
    "toxicity": "filters.toxicity:Toxicity",
    "clip": "filters.clip:ClipRelevance",
    "image_quality": "filters.images:ImageQuality",
    "nsfw": "filters.nsfw:Nsfw",
    "picture_text": "filters.picture_text:PictureText",
}

GROUPINGS = {
    "exact_duplicates": "prefdata.dedup.exact:ExactDuplicates",
    "near_duplicates": "prefdata.dedup.near:NearDuplicates",
    "picture_duplicates": "prefdata.dedup.images:PictureDuplicates",
}

FORMATS = {
    "huggingface": "prefdata.formats.huggingface:HuggingFace",
    "trl": "prefdata.formats.trl:Trl",
    "sharegpt": "prefdata.formats.sharegpt:ShareGpt",
    "alpaca": "prefdata.formats.alpaca:Alpaca",
    "swift": "prefdata.formats.swift:Swift",
    "llamafactory": "prefdata.formats.llamafactory:LlamaFactory",
    "openai": "prefdata.formats.openai:OpenAi",
    "axolotl": "prefdata.formats.axolotl:Axolotl",
    "openrlhf": "prefdata.formats.openrlhf:OpenRlhf",
    "verl": "prefdata.formats.verl:Verl",
    "halos": "prefdata.formats.halos:Halos",
    "hh_rlhf": "prefdata.formats.hh_rlhf:HhRlhf",
    "ultrafeedback": "prefdata.formats.ultrafeedback:UltraFeedback",
    "oasst": "prefdata.formats.oasst:Oasst",
    "nectar": "prefdata.formats.nectar:Nectar",
    "verdicts": "prefdata.formats.verdicts:Verdicts",
    "webdataset": "prefdata.formats.webdataset:WebDataset",
    "captions": "prefdata.formats.captions:Captions",
    "table": "prefdata.formats.table:Table",
}

TRAINERS = {
    "sft": "trainers.sft:SFTSettings",
    "dpo": "trainers.dpo:DPOSettings",
    "kto": "trainers.kto:KTOSettings",
    "reward": "trainers.reward:RewardSettings",
    "grpo": "trainers.grpo:GRPOSettings",
    "rloo": "trainers.rloo:RLOOSettings",
}

METHODS = {
    "sft": "trainers.sft:SFT",
    "dpo": "trainers.dpo:DPO",
    "kto": "trainers.kto:KTO",
    "reward": "trainers.reward:Reward",
    "grpo": "trainers.grpo:GRPO",
    "rloo": "trainers.rloo:RLOO",
}
"""Trainer -> the class that says how it trains, of the protocol `trainers.method.Method`."""

KINDS = {
    "layout": LAYOUTS,
    "transform": TRANSFORMS,
    "filter": FILTERS,
    "grouping": GROUPINGS,
    "format": FORMATS,
    "trainer": TRAINERS,
}


def load(kind: str, name: str) -> Any:
    """The settings class behind `name`. Raises UnknownNameError with the nearest name."""
    return _behind(kind, name, KINDS[kind])


def method(name: str) -> Any:
    """The method of training called `name`, of the protocol `trainers.method.Method`; loads no torch."""
    return _behind("trainer", name, METHODS)()


def _behind(kind: str, name: str, table: Mapping[str, str]) -> Any:
    if name not in table:
        raise UnknownNameError(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
