"""The quick look at a document agrees with jsonschema wherever it says yes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from anyclaude.config import schema
from anyclaude.config.fitting import fits

_SCHEMA = schema.schema()
_SCALARS: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(["", "a", "on", "mlx", "auto", "shuffle", None]),
    st.sampled_from([True, False, 0, 1, -1, 8, 100, 0.5, 1.0]),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.sampled_from(["a", "b", "", 1]), max_size=3),
    st.dictionaries(st.sampled_from(["a", "B!", "view.follow"]), st.sampled_from(["f5", "", 1])),
)


def _routes(rule: Any) -> st.SearchStrategy[dict[str, Any]]:
    good = {"match": st.just("*"), "targets": st.just(["a"])}
    others = {name: _SCALARS for name in rule["properties"]}
    return st.one_of(
        st.fixed_dictionaries(good, optional={"strategy": _SCALARS, "headers": _SCALARS}),
        st.fixed_dictionaries({}, optional={**others, "unknown": _SCALARS}),
    )


def _documents() -> st.SearchStrategy[dict[str, Any]]:
    sections: dict[str, st.SearchStrategy[Any]] = {}
    properties: Any = _SCHEMA["properties"]
    for name, rule in properties.items():
        if name == "routes":
            sections[name] = st.one_of(st.lists(_routes(rule["items"]), max_size=3), _SCALARS)
            continue
        keys = sorted(rule.get("properties", {"mlx": {}}))
        tables: st.SearchStrategy[Any] = st.dictionaries(
            st.sampled_from([*keys, "unknown"]), _SCALARS, max_size=3
        )
        sections[name] = st.one_of(tables, _SCALARS)
    return st.fixed_dictionaries({}, optional=sections)


@settings(max_examples=300, deadline=None)
@given(_documents())
def test_a_yes_is_a_yes_of_jsonschema(document: dict[str, Any]) -> None:
    if fits(document, _SCHEMA):
        assert Draft202012Validator(_SCHEMA).is_valid(document)


def test_every_default_fits_by_itself() -> None:
    for key in schema.all_keys():
        if "default" in key.rule and schema.ANY_NAME not in key.name:
            section, _, leaf = key.name.rpartition(".")
            value = key.rule["default"]
            document: dict[str, object] = {section: {leaf: value}} if section else {leaf: value}
            assert fits(document, _SCHEMA), key.name


def test_what_is_wrong_does_not_fit() -> None:
    for document in (
        {"nowhere": 1},
        {"server": {"port": "8082"}},
        {"server": {"port": True}},
        {"server": {"port": 70_000}},
        {"ui": {"theme": ""}},
        {"ui": {"keymap": {"a": 1}}},
        {"backends": {"Big!": {}}},
        {"backends": {"mlx": {"type": "other"}}},
        {"backends": {"mlx": {"type": ["mlx"]}}},
        {"server": []},
        {"routes": {}},
        {"routes": [{"match": "*"}]},
        {"routes": [{"match": "*", "targets": []}]},
        {"routes": [{"match": "*", "targets": ["a"], "strategy": "best"}]},
    ):
        assert not fits(document, _SCHEMA), document


def test_a_word_it_does_not_know_is_no() -> None:
    assert not fits(1, {"multipleOf": 1})
    assert not fits(1, {"type": ["integer", "string"]})
