"""The streaming reader against the standard library's parser."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gumbel.datasets.json_stream import stream_lists

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "x.json"


@settings(deadline=None)
@given(
    record=st.dictionaries(st.text(max_size=5), VALUES, max_size=5),
    indent=st.none() | st.integers(0, 2),
    ascii_only=st.booleans(),
)
def test_entries_are_those_of_the_whole_parse(path, record, indent, ascii_only):
    text = json.dumps(record, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "surrogatepass") if ascii_only else text.encode(errors="replace"))
    expected = json.loads(path.read_bytes())
    assert list(stream_lists(path)) == [
        (key, entry) for key, value in expected.items() if isinstance(value, list) for entry in value
    ]


@pytest.mark.parametrize("cut", range(1, 45))
def test_truncated_text_is_refused(path, cut):
    text = '{"a": [1, {"b": [2]}], "c": "d", "e": [1.5]}'
    path.write_text(text[:-cut])
    with pytest.raises(ValueError, match=r"damaged, truncated|an empty file"):
        list(stream_lists(path))


def test_another_value_is_refused(path):
    path.write_text("3")
    with pytest.raises(ValueError, match=r"another form .*object"):
        list(stream_lists(path))


@pytest.mark.parametrize("text", ["[1]", '{"a": [1 2]}', '{"a" 1}', '{"a": [x]}', "\x80"])
def test_other_text_is_refused(path, text):
    path.write_text(text)
    with pytest.raises(ValueError, match="damaged, truncated"):
        list(stream_lists(path))


def test_damage_is_found_before_the_first_entry(path):
    path.write_text('{"a": [1], "b": [x]}')
    with pytest.raises(ValueError, match="damaged, truncated"):
        next(stream_lists(path))


@pytest.mark.parametrize("number", ["NaN", "-Infinity"])
def test_numbers_that_are_not_finite_are_named(path, number):
    path.write_text(f'{{"a": [{number}]}}')
    with pytest.raises(ValueError, match="expected finite numbers"):
        list(stream_lists(path))
