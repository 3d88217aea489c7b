"""Whatever a file holds, it is answered with lines, and never with a secret in one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.config import schema
from anyclaude.config.load import check_file

SECRET = "open-sesame-4711"

_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["", "*", "slot:x", "mlx", "openai", "lm/m", "wordllama", "http://h", "://@"]),
    st.integers(-1, 100_000),
    st.floats(),
    st.booleans(),
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["a", "x-b", "type", "match", "targets", ""]), inner),
    ),
    max_leaves=4,
)
_NAMES = st.sampled_from(["lm", "mlx", "a.b", "Big", "", "x-1"])


def _tables(section: str) -> st.SearchStrategy[Any]:
    keys = [key.name.rpartition(".")[2] for key in schema.all_keys() if key.section == section]
    return st.one_of(st.dictionaries(st.sampled_from([*keys, "what"]), _VALUES), _VALUES)


def _route() -> st.SearchStrategy[Any]:
    keys = [key.name.rpartition(".")[2] for key in schema.entry_keys()]
    good = st.fixed_dictionaries(
        {"match": st.sampled_from(["*", "a", "slot:b"]), "targets": st.just(["lm/m"])},
        optional={key: _VALUES for key in keys if key not in ("match", "targets")},
    )
    return st.one_of(good, st.dictionaries(st.sampled_from(keys), _VALUES), _VALUES)


_DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "backends": st.one_of(st.dictionaries(_NAMES, _tables("backends.*"), max_size=3), _VALUES),
        "keys": st.one_of(st.dictionaries(_NAMES, _tables("keys.*"), max_size=3), _VALUES),
        "routes": st.one_of(st.lists(_route(), max_size=3), _VALUES),
        "cache": _tables("cache"),
        "resilience": _tables("resilience"),
        "search": _tables("search"),
        "server": _tables("server"),
        "data_dir": _VALUES,
    },
)


@settings(max_examples=400, deadline=None)
@given(_DOCUMENTS)
def test_any_document_is_answered_with_lines(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.toml"
        file.write_text(tomli_w.dumps(document), "utf-8")
        for line in check_file(file, {}):
            assert line.startswith(f"{file}: ")
            assert "\n" not in line


@pytest.mark.parametrize(
    "text",
    [
        "[server]\napi_key = ['SECRET']",
        "[server]\nadmin_key = { a = 'SECRET' }",
        "[[server]]\napi_key = 'SECRET'",
        "[server]\nport = { api_key = 'SECRET' }",
        "backends = [ { lm = { api_key = 'SECRET' } } ]",
        "[[backends.lm]]\napi_key = 'SECRET'",
        "[[backends.lm]]\nheaders = { a = 'SECRET' }",
        "[backends.lm]\nheaders = 'SECRET'",
        "[backends.lm]\nheaders = ['SECRET']",
        "[backends.lm]\nheaders = { a = ['SECRET'] }",
        "[backends.lm]\ntype = 'openai'\nheaders = { a = 'SECRET\\n' }",
        '[backends.lm]\ntype = "openai"\nheaders = { a = "SECRET\\n" }',
        "[backends.lm]\napi_key_env = 'SECRET'",
        "[backends.lm]\ntype = 'openai'\nbase_url = 'http://SECRET@h'",
        "[backends.lm]\ntype = 'openai'\nbase_url = ['http://a:SECRET@h']",
        "[backends.lm]\ntype = 'openai'\nbase_url = 'http://h?k=SECRET'",
        "[backends.lm]\ntype = 'openai'\nbase_url = 'SECRET'",
        "[backends.lm]\ntype = { url = 'http://h?k=SECRET' }",
        "[cache]\nredis_url = 'redis:SECRET'",
        "[cache]\nredis_url = ['redis://:SECRET@h']",
        "[cache]\nvectors = 'http://SECRET@h'",
        "[keys.me]\nsha256 = 'SECRET'",
        "[keys]\nme = { sha256 = ['SECRET'], rpm = 'x' }",
        "[[routes]]\nmatch = '*'\ntargets = ['mlx']\nheaders = { x-api-key = 'SECRET' }",
        "[[routes]]\nmatch = '*'\ntargets = ['mlx']\nheaders = { authorization = ['SECRET'] }",
        "[routes]\nheaders = { authorization = 'SECRET' }",
    ],
)
def test_no_line_has_a_secret_in_it(here: Path, text: str) -> None:
    file = here / "a.toml"
    file.write_text(text.replace("SECRET", SECRET))
    lines = check_file(file, {})
    assert lines
    assert SECRET not in "\n".join(lines)
