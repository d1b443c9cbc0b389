"""The sidecar's command line: two verbs, and a sentence for everything else."""

import subprocess
import sys

import pytest

from handfast_sidecar import __version__
from handfast_sidecar.main import main


def test_it_says_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("words", [[], ["prox"], ["init", "proxy"], ["--verbose"]])
def test_what_is_no_verb_ends_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "usage: handfast-sidecar init | proxy" in capsys.readouterr().err


def test_a_proxy_without_a_pods_environment_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "handfast_sidecar", "proxy"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "HANDFAST_POD_IPS is empty" in done.stdout + done.stderr
