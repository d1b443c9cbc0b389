"""The probes that travel from the webhook to the sidecar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, ProbeTable, TcpProbe, probe_path
from handfast_sidecar.errors import BadConfig

_PROBES = st.one_of(
    st.builds(HttpProbe, st.integers(1, 65535), headers=st.lists(st.tuples(st.text(), st.text())).map(tuple)),
    st.builds(TcpProbe, st.integers(1, 65535)),
    st.builds(GrpcProbe, st.integers(1, 65535)),
)


@given(st.dictionaries(st.text(), _PROBES))
def test_a_table_is_read_as_it_was_written(probes: dict[str, HttpProbe | TcpProbe | GrpcProbe]) -> None:
    assert ProbeTable.parse(ProbeTable(probes).dump()) == ProbeTable(probes)


def test_the_golden_bytes_of_a_table() -> None:
    table = ProbeTable({probe_path("app", "readiness"): TcpProbe(5432, timeout_s=2)})
    assert table.dump() == '{"/probe/app/readiness":{"host":"","kind":"tcp","port":5432,"timeout":2}}'


def test_no_probes_are_an_empty_table() -> None:
    assert ProbeTable.parse("") == ProbeTable()


@pytest.mark.parametrize("text", ["[]", "{", '{"/probe/a/b":{"kind":"udp","port":1}}', '{"/probe/a/b":{"kind":"tcp"}}'])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadConfig):
        ProbeTable.parse(text)
