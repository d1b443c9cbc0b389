import json
from pathlib import Path

import pytest

from handfast_sidecar.config.cipher_suites import KNOWN, check_cipher_suites
from handfast_sidecar.errors import BadConfig

SCHEMA = Path(__file__).parents[2] / "charts" / "handfast" / "values.schema.json"


@pytest.mark.parametrize("text", ["", *KNOWN, ":".join(KNOWN)])
def test_known_suites_are_taken_as_they_are(text: str) -> None:
    assert check_cipher_suites(text) == text


@pytest.mark.parametrize("text", ["TLS_AES_128_CCM_SHA256", "AES128-SHA", ":", "TLS_AES_256_GCM_SHA384:"])
def test_another_suite_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(BadConfig, match="choose from TLS_AES_256_GCM_SHA384"):
        check_cipher_suites(text)


def test_the_chart_knows_the_same() -> None:
    sidecar = json.loads(SCHEMA.read_text())["properties"]["sidecar"]["properties"]
    assert tuple(sidecar["cipherSuites"]["items"]["enum"]) == KNOWN
