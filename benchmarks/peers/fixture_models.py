"""Two small model folders that every peer can load offline: a text model and one that sees pictures.

Vocabulary: SmolLM2's, so that any text comes back from its tokens unchanged. Chat templates: Qwen2.5's as TRL ships
them, because they render tools, and because every peer has its own copy of the same template. Weights: none worth the
name; nothing is trained.
"""

from __future__ import annotations

from pathlib import Path

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TOOL_TOKENS = ("<tool_call>", "</tool_call>")


def make(tokenizer_folder: Path, target: Path) -> dict[str, Path]:
    """`target`/text and `target`/vision, made once."""
    folders = {"text": target / "text", "vision": target / "vision"}
    if not (folders["text"] / "model.safetensors").is_file():
        _text(tokenizer_folder, folders["text"])
    if not (folders["vision"] / "model.safetensors").is_file():
        _vision(tokenizer_folder, folders["vision"])
    return folders


def _tokenizer(folder: Path, template: str, special: tuple[str, ...]):  # type: ignore[no-untyped-def]
    import trl
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *special]})
    templates = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (templates / template).read_text(encoding="utf-8")
    return tokenizer


def _text(source: Path, target: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(source, "qwen2_5.jinja", ())
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(target)
    tokenizer.save_pretrained(target)


def _vision(source: Path, target: Path) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _tokenizer(source, "qwen2_5_vl.jinja", VISION_TOKENS)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 28 * 28, "max_pixels": 56 * 56}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=tokenizer.chat_template,
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(target)
    processor.save_pretrained(target)
