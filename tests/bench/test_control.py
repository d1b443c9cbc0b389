"""The control plane's bench: its figures, the verdicts that it measures, and a quick run for real."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handfast_control.figures import Row, Table, judged, percentile
from handfast_control.rules import account, allowing, below, denying, stranger
from handfast_control.verdicts import Case, Pace, verdicts
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.verdict import tunnel_verdict
from handfast_sidecar.tunnel.reasons import Reason

ROOT = Path(__file__).parent.parent.parent
PUSH = Table("push", "Push", {"max": "max, ms"}, [Row("100 sidecars, 1 rule", {"max": 900.0})])


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(each) for each in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.01) == 7


def test_a_table_comes_back_from_its_json() -> None:
    raw = json.loads(json.dumps(PUSH.to_json()))
    assert Table.from_json(raw) == PUSH


def test_of_all_rows_that_a_bar_is_about_the_worst_counts() -> None:
    rows = [*PUSH.rows, Row("100 sidecars, 101 rules", {"max": 1_001.0})]
    bars = judged([Table("push", "Push", PUSH.columns, rows)])
    assert (bars.figure("push, 100 sidecars, ms", "worst"), bars.figure("push, 100 sidecars, ms", "held")) == (1_001, 0)
    assert judged([PUSH]).figure("push, 100 sidecars, ms", "held") == 1
    assert "| push, 100 sidecars, ms | 900 | 1,000 | held |" in judged([PUSH]).markdown()


def test_what_was_not_measured_is_neither_held_nor_missed() -> None:
    assert judged([PUSH]).figure("verdicts, 100 rules, us", "held") is None
    assert "| verdicts, 100 rules, us | - | 5.00 | - |" in judged([PUSH]).markdown()


@pytest.mark.parametrize("pattern", [False, True])
def test_rules_mean_whom_they_are_said_to_mean(pattern: bool) -> None:
    policy = allowing(100, pattern=pattern)

    def allowed(peer: SpiffeId) -> bool:
        return tunnel_verdict(policy, peer, "bench.example", 8080).allowed

    assert allowed(account(98))
    assert allowed(below(7)) is pattern
    assert not allowed(stranger(7))


def test_objects_hold_as_many_rules_as_were_asked_for() -> None:
    assert [len(each["spec"]["deny"]) for each in denying("shop", 120)] == [50, 50, 20]


def test_a_verdict_that_is_not_the_one_to_be_measured_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Case("refused?", lambda: allowing(1), account, 1, answer=Reason.DENIED)
    monkeypatch.setattr("handfast_control.verdicts.cases", lambda _count: iter([wrong]))
    with pytest.raises(ValueError, match="account-0"):
        asyncio.run(verdicts(Pace(1, 1), (1,)))


@pytest.mark.timeout(240)
def test_a_quick_run_pushes_policies_and_issues_leaves_for_real(tmp_path: Path) -> None:
    out = tmp_path / "out" / "control.json"
    done = subprocess.run(
        [sys.executable, "-m", "handfast_control", "--quick", "--out", str(out)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'bench'}:{ROOT / 'tests'}", "HANDFAST_KUBECONFIG": ""},
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables = {each["name"]: each for each in json.loads(out.read_text())["tables"]}
    assert set(tables) == {"verdicts", "yardsticks", "recompile", "push", "issuance", "footprint", "renewals"}
    assert [each["what"] for each in tables["push"]["rows"]] == ["10 sidecars, 1 rule", "10 sidecars, 11 rules"]
    assert all(0 < each["write"] <= each["max"] for each in tables["push"]["rows"])
    appear, have, wait = sorted(tables["issuance"]["rows"], key=lambda row: row["what"])
    assert [each["what"].partition(" pods ")[2] for each in (appear, have, wait)] == [
        "are created while it runs",
        "have theirs when it starts",
        "wait when it starts",
    ]
    assert all(each["own"] > 0 and each["server"] > 0 and each["peak"] >= each["rest"] for each in (appear, wait, have))
    cost = {each["what"]: each for each in tables["footprint"]["rows"]}
    assert {name.partition(": ")[2] for name in cost} == {
        "controller",
        "webhook",
        "directory",
        "all three",
        "API server and etcd",
        "their sidecars, simulated",
    }
    assert all(each["rss"] > each["private"] > 0 and each["peak"] >= each["rss"] for each in cost.values())
    assert cost["10 pods: directory"]["before"] > cost["idle: directory"]["before"]
    assert "#### A verdict on a new stream" in done.stdout
    assert "#### Beside it: what others publish" in done.stdout
