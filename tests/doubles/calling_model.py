"""A model of mlx-lm's own class whose weights call one tool, and answer once they see its result.

One layer of a llama. Each token that matters has a direction of its own in the residual stream,
and the head leads from each to the next: from the start of an assistant's turn to the call, token
by token, and from there to the end. The attention looks back for a tool's result; where there is
one, it turns the start of the turn to the answer instead. All other tokens share one direction.

Tokenizer and vocabulary are the embedded model's, with the call's arguments as a word of their
own, since a chain of tokens has no memory of how often it met one. Any server that runs MLX models
runs it, tensor parallel over three ranks too.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx

HIDDEN, HEADS, HEAD_DIM = 48, 3, 32
START, RESULT = 1, 2
"""Directions of the line break that an assistant's turn begins with, and of a tool's result."""
ANSWER = 3
CHAIN = 4
"""Of the answer's first token, and of the first of all that are generated."""
SEEN = 3.0
LOUD = 10.0
"""How sharply the attention looks for a result, and the head tells one token from the others."""

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.role == 'tool' %}<tool_response>{{ message.content }}</tool_response>\
{% else %}{{ message.content or '' }}{% endif %}\
{%- for tool_call in message.tool_calls or [] %}\
{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
<tool_call>{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}\
</tool_call>{%- endfor %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def make_calling_model(
    base: Path, folder: Path, tool: str, arguments: Mapping[str, object], answer: str
) -> Path:
    """Writes the model into ``folder``. ``base`` is the folder of the embedded one.

    ``answer`` must not use a token twice; the call must be ASCII.
    """
    folder.mkdir()
    call = json.dumps({"name": tool, "arguments": dict(arguments)}, separators=(",", ":"))
    assert call.isascii() and " " not in call
    tokenizer = json.loads((base / "tokenizer.json").read_text("utf-8"))
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    added = ["<tool_call>", call, "</tool_call>", "<tool_response>", "</tool_response>"]
    for text in added:
        ids[text] = len(ids)
        tokenizer["added_tokens"].append(_added(ids[text], text))
    said = _tokens(base, answer)
    assert len(set(said)) == len(said), "the answer uses a token twice"
    end = ids["<|im_end|>"]
    chains = [[*(ids[text] for text in added[:3]), end], [*said, end]]
    weights = _weights(len(ids), ids["\u010a"], ids["<tool_response>"], chains)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "num_hidden_layers": 1,
        "intermediate_size": 3,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-6,
        "vocab_size": len(ids),
        "max_position_embeddings": 200_000,
        # So slow that the last pair of dimensions hardly turns over any prompt's length.
        "rope_theta": 1e9,
        "tie_word_embeddings": False,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": end,
        "torch_dtype": "float32",
    }
    described = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    described |= {"chat_template": TEMPLATE, "model_max_length": 200_000}
    for name, value in (
        ("config.json", config),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", described),
    ):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    shutil.copy(base / "generation_config.json", folder)
    return folder


def _added(number: int, text: str) -> dict[str, Any]:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": number, "content": text, **dict.fromkeys(flags, False)}


def _tokens(base: Path, text: str) -> list[int]:
    from tokenizers import Tokenizer

    found: list[int] = Tokenizer.from_file(str(base / "tokenizer.json")).encode(text).ids
    return found


def _weights(
    vocab: int, start: int, result: int, chains: Sequence[Sequence[int]]
) -> dict[str, mx.array]:
    """``chains`` are the call's tokens and the answer's, each with the end of the turn."""
    import numpy as np

    def zeros(rows: int, columns: int) -> Any:
        return np.zeros((rows, columns), dtype=np.float32)

    embed, head = zeros(vocab, HIDDEN), zeros(vocab, HIDDEN)
    embed[:, 0] = 1.0

    def place(token: int, direction: int) -> None:
        embed[token] = 0.0
        embed[token, direction] = 1.0

    place(start, START)
    place(result, RESULT)
    directions = iter(range(CHAIN, HIDDEN))
    for chain, led_by in zip(chains, (START, ANSWER), strict=True):
        for token in chain:
            head[token, led_by] = LOUD
            if token != chain[-1]:
                led_by = next(directions)
                place(token, led_by)
    query, key, value, out = (zeros(HEADS * HEAD_DIM, HIDDEN) for _ in range(4))
    # A norm makes a single direction this long.
    length = math.sqrt(HIDDEN)
    query[HEAD_DIM // 2 - 1, START] = SEEN
    key[HEAD_DIM // 2 - 1, RESULT] = SEEN
    value[0, RESULT] = 1 / length
    out = out.T.copy()
    out[ANSWER, 0] = 4.0
    layer = "model.layers.0."
    arrays = {
        "model.embed_tokens.weight": embed,
        "lm_head.weight": head,
        "model.norm.weight": np.ones(HIDDEN, dtype=np.float32),
        f"{layer}input_layernorm.weight": np.ones(HIDDEN, dtype=np.float32),
        f"{layer}post_attention_layernorm.weight": np.ones(HIDDEN, dtype=np.float32),
        f"{layer}self_attn.q_proj.weight": query,
        f"{layer}self_attn.k_proj.weight": key,
        f"{layer}self_attn.v_proj.weight": value,
        f"{layer}self_attn.o_proj.weight": out,
        f"{layer}mlp.gate_proj.weight": zeros(3, HIDDEN),
        f"{layer}mlp.up_proj.weight": zeros(3, HIDDEN),
        f"{layer}mlp.down_proj.weight": zeros(HIDDEN, 3),
    }
    return {name: mx.array(array) for name, array in arrays.items()}
