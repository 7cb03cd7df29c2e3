"""The messages of the feature: tag filters and request bodies."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.kernel.http.bodies import decode
from smartmob.metrics import model, protocol
from tests.metrics.samples import context, metric, session


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        ("", "", ()),
        ("", "x", ()),
        ("a", "", (("a", ""),)),
        ("a,b", "1", (("a", "1"), ("b", ""))),
        ("a,b", ",2", (("a", ""), ("b", "2"))),
        ("a", "1,2,3", (("a", "1"),)),
    ],
)
def test_tag_filters_pair_names_with_values(names: str, values: str, expected: tuple[tuple[str, str], ...]) -> None:
    """Names and values are paired by position, and a missing value is empty."""
    assert protocol.tag_filter(names, values) == expected


@pytest.mark.parametrize(
    ("decoder", "document"),
    [(protocol.CONTEXT, context()), (protocol.SESSION, session()), (protocol.METRIC, metric())],
)
def test_each_field_of_the_plugin_is_decoded(
    decoder: msgspec.json.Decoder[object], document: dict[str, object]
) -> None:
    """No field that the plugin sends is lost."""
    decoded = msgspec.to_builtins(decode(decoder, orjson.dumps(document)))

    assert {name: decoded[name] for name in document} == document


@given(
    st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5).map(repr).map(str.encode)
)
def test_any_bytes_are_a_metric_or_refused(data: bytes) -> None:
    """No body causes another error than InvalidInput."""
    try:
        assert isinstance(decode(protocol.METRIC, data), model.NewMetric)
    except InvalidInput as error:
        assert error.faults[0].where.startswith("$")


def test_the_csv_header_has_the_fields_of_a_metric() -> None:
    """The columns have the names and the order of the fields that the plugin sends."""
    assert list(protocol.CSV_HEADER) == list(metric())
