"""What a page tells to type can be typed: verbs and options are known, and what is asked for has these names.

Whether it prints what a page says is for the tests that type it (`TYPED`); remedies are shown without what they print.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, Final

import pytest
import yaml

from handfast_lab.kubectl.kinds import BUILT_IN
from handfast_operator.authority.storage import BUNDLE_CONFIG_MAP
from handfast_operator.cli.main import LAB_VERBS, VERBS, parsed
from handfast_operator.controller.lease import LEASE_NAME
from handfast_operator.metrics import PROGRAMS
from handfast_sidecar import wellknown
from pages.places import CRDS, DOCS, ROOT
from pages.reading import modules, sentence
from pages.written import pages
from support.shown import KubectlLine, Shown, kubectl_line, shown
from support.transcript import commands
from support.typist import section

PAGES: Final = pages()
TYPED: Final = {
    "docs/cli.md": "tests/lab/test_cli_page.py",
    "docs/install.md": "tests/cluster/kubernetes/test_first_hour.py",
    "docs/operations.md": "tests/cluster/lab/test_operations.py",
    "docs/policy.md": "tests/lab/test_policy_page.py",
}
"""The pages with transcripts, and who types them: each takes all that its page has, or says what not."""
CHART: Final[list[dict[str, Any]]] = [
    each for each in yaml.safe_load_all((ROOT / "tests" / "chart" / "rendered" / "default.yaml").read_text()) if each
]
VALUES: Final = yaml.safe_load((ROOT / "charts" / "handfast" / "values.yaml").read_text())
OF_KUBERNETES: Final = frozenset({"FailedCreate"})
"""Reasons of Events that are not ours."""
PACKAGES: Final = frozenset(path.name for path in ROOT.glob("*/handfast_*"))
BEFORE_KIND: Final = dict.fromkeys(
    ("get", "describe", "delete", "patch", "scale", "label", "annotate", "wait", "top", "logs"), 0
) | {
    "rollout": 1,
    "auth": 2,
}
"""Verbs of kubectl that are about objects, and how many words stand before the kind."""
LOGGING: Final = frozenset(("debug", "info", "warning", "error", "exception"))


def typed(program: str) -> list[Any]:
    """Every command of it, on every page."""
    return [
        pytest.param(each, id=f"{page}:{each.line}") for page, text in PAGES.items() for each in shown(text, program)
    ]


@cache
def kinds() -> dict[str, str]:
    """What a kind may be called, and what it is called in a manifest."""
    found = {name: each.name for each in BUILT_IN for name in each.names()}
    for path in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        names = spec["names"]
        for name in (names["plural"], names["singular"], *names.get("shortNames", ())):
            found |= {name: names["kind"], f"{name}.{spec['group']}": names["kind"]}
    return found


def templates() -> list[dict[str, Any]]:
    """The pods of the chart's Deployments."""
    return [each["spec"]["template"] for each in CHART if each["kind"] == "Deployment"]


@cache
def existing() -> set[tuple[str, str]]:
    """What the chart makes, and what the operator makes in its own namespace: kind and name."""
    mounted = {
        ("Secret", volume["secret"]["secretName"])
        for template in templates()
        for volume in template["spec"].get("volumes", ())
        if "secret" in volume
    }
    ours = {("Lease", LEASE_NAME), ("ConfigMap", BUNDLE_CONFIG_MAP)}
    return {(each["kind"], each["metadata"]["name"]) for each in CHART} | mounted | ours


def subjects(line: KubectlLine) -> Iterator[tuple[str, str]]:
    """The kinds that a command speaks of, as they are written, and names; an empty name is any."""
    verb, *words = line.words
    if verb not in BEFORE_KIND:
        return
    about = [each for each in words[BEFORE_KIND[verb] :] if "=" not in each and not each.endswith("-")]
    if any("/" in each for each in about):
        yield from ((kind, name) for kind, _, name in (each.partition("/") for each in about))
    elif about and verb != "logs":
        yield from product(about[0].split(","), about[1:] or [""])


@cache
def said(package: str) -> list[str]:
    """The sentences that a program logs."""
    return [
        sentence(node.args[0])
        for module in modules()
        if module.name.startswith(package)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOGGING
        and node.args
    ]


def test_each_page_with_transcripts_is_typed_by_a_test() -> None:
    assert {page for page, text in PAGES.items() if commands(text)} == TYPED.keys()
    for page, test in TYPED.items():
        assert (ROOT / test).is_file(), f"{page}: {test}"


@pytest.mark.parametrize("page", ["docs/install.md", "docs/operations.md"])
def test_each_section_with_a_transcript_is_named_by_the_test_that_types_it(page: str) -> None:
    source = (ROOT / TYPED[page]).read_text()
    for heading in re.findall(r"^## (.+)$", PAGES[page], re.MULTILINE):
        assert f'"{heading}"' in source or not commands(section(PAGES[page], heading)), heading


@pytest.mark.parametrize("command", typed("handfast"))
def test_handfast_understands_what_a_page_has_it_asked(command: Shown) -> None:
    verb, *more = command.words[1:]
    assert verb in (*VERBS, *LAB_VERBS)
    if more and verb in VERBS:
        parsed([verb, *more])


@pytest.mark.parametrize("command", typed("kubectl"))
def test_kubectl_is_asked_for_what_there_is(command: Shown) -> None:
    line, known, there = kubectl_line(command.words), kinds(), existing()
    for kind, name in subjects(line):
        assert kind in known, f"no kind {kind}"
        if name.startswith("handfast-") and known[kind] != "Namespace":
            assert (known[kind], name) in there
    containers = {each["name"] for template in templates() for each in template["spec"]["containers"]}
    ours = {wellknown.PROXY_CONTAINER, wellknown.INIT_CONTAINER, "app"}
    assert {value for name, value in line.options.items() if name in ("-c", "--container")} <= containers | ours
    for name, value in line.options.items():
        if name in ("-l", "--selector"):
            assert_some_pod_or_secret_has(value)
    reason = line.options.get("--field-selector", "").partition("reason=")[2]
    if reason and reason not in OF_KUBERNETES:
        assert f"`{reason}`" in PAGES["docs/reference.md"] + PAGES["docs/reasons.md"]


def assert_some_pod_or_secret_has(selector: str) -> None:
    for each in selector.split(","):
        key, equals, value = each.partition("=")
        if equals:
            assert any(template["metadata"]["labels"].get(key) == value for template in templates()), each
        else:
            assert key in vars(wellknown).values(), each


@pytest.mark.parametrize("command", [each for each in typed("kubectl") if "can-i" in each.values[0].words])
def test_an_account_of_the_chart_that_is_asked_about_has_the_right(command: Shown) -> None:
    line = kubectl_line(command.words)
    _auth, _can_i, verb, resource = line.words
    account = line.options["--as"].removeprefix("system:serviceaccount:handfast-system:")
    if not account.startswith("handfast-"):
        return
    assert ("ServiceAccount", account) in existing()
    rules = [
        rule
        for each in CHART
        if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", account)
        for rule in each["rules"]
    ]
    assert any(verb in rule["verbs"] and resource in rule["resources"] for rule in rules)


@pytest.mark.parametrize("command", [each for each in typed("kubectl") if each.values[0].grep])
def test_what_is_looked_for_in_a_log_is_said_there(command: Shown) -> None:
    package = "handfast_sidecar" if wellknown.PROXY_CONTAINER in command.words else "handfast_operator"
    for pattern in command.grep.split("|"):
        assert any(re.search(pattern, each, re.IGNORECASE) for each in said(package)), pattern


@pytest.mark.parametrize("command", typed("helm"))
def test_an_upgrade_keeps_what_was_set_and_takes_the_defaults_of_the_new_chart(command: Shown) -> None:
    _helm, verb, *more = command.words
    assert ("--reset-then-reuse-values" in more) == (verb == "upgrade" and bool(more))


def test_metrics_that_pages_name_are_declared() -> None:
    declared = {metric.name for program in PROGRAMS.values() for metric in program}
    endings = ("", "_bucket", "_sum", "_count")
    for page, text in PAGES.items():
        named = set(re.findall(r"\bhandfast_[a-z_]*[a-z]\b(?![_*.])", text)) - PACKAGES
        assert {each for each in named if not any(each.removesuffix(end) in declared for end in endings)} == set(), page


def test_values_that_the_alerts_name_are_the_charts() -> None:
    named = re.findall(r"`([a-z]+(?:\.[a-zA-Z]+)+)`", (DOCS / "alerts.md").read_text())
    of_chart = [each.split(".") for each in named if each.partition(".")[0] in VALUES]
    assert of_chart
    for path in of_chart:
        found = VALUES
        for part in path:
            assert part in found, ".".join(path)
            found = found[part]
