"""Tokens of pieces are tokens of the whole, for each kind of tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from anyclaude.engine.token_runs import TokenRuns

LETTERS = "abcé \n<|>1▁"


def byte_level(prefix: bool) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: index for index, letter in enumerate([*alphabet, "ab", "Ġa", "Ċa"])}
    raw = Tokenizer(models.BPE(vocab, [("a", "b"), ("Ġ", "a"), ("Ċ", "a")]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    return with_specials(raw)


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    vocab = {letter: index for index, letter in enumerate(["<unk>", *"▁abcé\n<|>1", "▁a", "ab"])}
    raw = Tokenizer(models.BPE(vocab, [("▁", "a"), ("a", "b")], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    return with_specials(raw)


def legacy_llama() -> PreTrainedTokenizerFast:
    tokenizer = metaspace("never")
    raw = tokenizer.backend_tokenizer
    raw.pre_tokenizer = None
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return with_specials(raw)


def with_specials(raw: Tokenizer) -> PreTrainedTokenizerFast:
    raw.add_special_tokens([AddedToken("<|a|>", normalized=False), "<|end|>"])
    raw.add_tokens(
        [
            AddedToken("<l>", normalized=False, lstrip=True),
            AddedToken("<r>", normalized=False, rstrip=True),
            AddedToken("<w>", normalized=False, single_word=True),
            AddedToken("<n>", normalized=True),
            AddedToken("<|a|>b", normalized=False),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw)


TOKENIZERS = {
    "bytes": byte_level(False),
    "bytes-prefix": byte_level(True),
    "metaspace-always": metaspace("always"),
    "metaspace-first": metaspace("first"),
    "metaspace-never": metaspace("never"),
    "legacy-llama": legacy_llama(),
}

texts = st.lists(
    st.one_of(
        st.text(LETTERS, max_size=6),
        st.sampled_from(["<|a|>", "<|a|>b", "<|end|>", "<l>", "<r>", "<w>", "<n>"]),
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(text=texts)
def test_pieces_add_up_to_the_whole(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    whole = tuple(tokenizer.encode(text, add_special_tokens=False))
    runs = TokenRuns(tokenizer)
    assert runs.encode(text) == whole
    assert runs.encode(text) == whole


class Counting:
    """A tokenizer of words in capitals, without a fast backend, that counts its work."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        self.calls.append(text)
        return [ord(letter) for letter in text]


def test_a_tokenizer_without_fast_backend_encodes_whole_texts() -> None:
    tokenizer = Counting()
    runs = TokenRuns(tokenizer)
    assert runs.encode("abc") == runs.encode("abc") == (97, 98, 99)
    assert tokenizer.calls == ["abc"]


class Watched:
    """The fast backend, with a list of what it was asked to encode."""

    def __init__(self, raw: Tokenizer) -> None:
        self._raw = raw
        self.asked: list[str] = []

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool) -> Any:
        self.asked += texts
        return self._raw.encode_batch(texts, add_special_tokens=add_special_tokens)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class Hf:
    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.encode = tokenizer.encode
        self.backend_tokenizer = Watched(tokenizer.backend_tokenizer)


def test_only_new_pieces_are_encoded() -> None:
    hf = Hf(TOKENIZERS["bytes"])
    runs = TokenRuns(hf)
    runs.encode("<|a|>one<|end|>")
    hf.backend_tokenizer.asked.clear()
    runs.encode("<|a|>one<|end|>\n<|a|>two")
    assert hf.backend_tokenizer.asked == ["<|end|>\n", "<|a|>two"]


def test_the_cache_stays_within_its_bytes() -> None:
    hf = Hf(TOKENIZERS["bytes"])
    runs = TokenRuns(hf, cache_bytes=2_000)
    for index in range(50):
        runs.encode(f"<|a|>{index}")
    hf.backend_tokenizer.asked.clear()
    runs.encode("<|a|>49<|a|>0")
    assert hf.backend_tokenizer.asked == ["<|a|>0"]
    runs.encode("b" * 10_000)
    hf.backend_tokenizer.asked.clear()
    runs.encode("<|a|>49")
    assert hf.backend_tokenizer.asked == ["<|a|>49"]


def test_threads_share_one_instance() -> None:
    tokenizer = TOKENIZERS["bytes"]
    runs = TokenRuns(tokenizer, cache_bytes=3_000)
    expected = {f"<|a|>{n}ab<|end|>": tokenizer.encode(f"<|a|>{n}ab<|end|>") for n in range(40)}
    wrong: list[str] = []

    def work() -> None:
        for text, tokens in expected.items():
            if list(runs.encode(text)) != tokens:
                wrong.append(text)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
