"""A Hugging Face tokenizer out of the vocabulary that a GGUF file carries in its metadata.

Covers the one kind the embedded model has: GPT-2 byte-level BPE whose digits are split one by
one (llama.cpp calls that pre-tokenizer ``smollm``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

_CONTROL = 3  # llama.cpp's token type of special tokens


class _Array(Protocol):
    def tolist(self) -> object: ...


def text(metadata: Mapping[str, object], key: str) -> str:
    """The metadata string under ``key``; raises ValueError when it is something else."""
    value = metadata.get(key)
    if not isinstance(value, str):
        raise ValueError(f"the GGUF file has no text under {key}")
    return value


def number(metadata: Mapping[str, object], key: str) -> float:
    """The metadata number under ``key``; raises ValueError when it is something else."""
    value = metadata.get(key)
    plain = cast(_Array, value).tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise ValueError(f"the GGUF file has no number under {key}")
    return plain


def strings(metadata: Mapping[str, object], key: str) -> list[str]:
    """The metadata list of strings under ``key``; raises ValueError when it is not one."""
    value = metadata.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"the GGUF file has no list of strings under {key}")
    return value


def tokenizer_json(metadata: Mapping[str, object]) -> dict[str, object]:
    """The content of ``tokenizer.json``.

    Raises ValueError for a vocabulary of another kind than GPT-2 BPE with split digits.
    """
    kind, pre = text(metadata, "tokenizer.ggml.model"), text(metadata, "tokenizer.ggml.pre")
    if (kind, pre) != ("gpt2", "smollm"):
        raise ValueError(f"the GGUF file has a {kind}/{pre} tokenizer, not gpt2/smollm")
    tokens = strings(metadata, "tokenizer.ggml.tokens")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, content in _special_tokens(metadata, tokens)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": True,
                },
            ],
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in strings(metadata, _MERGES)],
        },
    }


def tokenizer_config(metadata: Mapping[str, object]) -> dict[str, object]:
    """The content of ``tokenizer_config.json``, the chat template included."""
    tokens = strings(metadata, "tokenizer.ggml.tokens")

    def token(role: str) -> str:
        return tokens[int(number(metadata, f"tokenizer.ggml.{role}_token_id"))]

    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "unk_token": token("unknown"),
        "pad_token": token("padding"),
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(number(metadata, "llama.context_length")),
        "chat_template": text(metadata, "tokenizer.chat_template"),
    }


_MERGES = "tokenizer.ggml.merges"


def _special_tokens(metadata: Mapping[str, object], tokens: Sequence[str]) -> list[tuple[int, str]]:
    value = metadata.get("tokenizer.ggml.token_type")
    types = cast(_Array, value).tolist() if hasattr(value, "tolist") else value
    if not isinstance(types, list) or len(types) != len(tokens):
        raise ValueError("the GGUF file does not give a type for each of its tokens")
    return [(index, tokens[index]) for index, kind in enumerate(types) if kind == _CONTROL]
