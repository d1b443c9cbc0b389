"""docs/policy-errors.md: the cases, and the page that is written from what a cluster says to each of them. Pure.

A case is one YAML document in tests/cluster/behaviour/policy_errors. The page can be read back, so that a test compares
it with a cluster case by case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, Final

import yaml

from cluster.kube.manifests import Manifest

CASES: Final = Path(__file__).parent / "behaviour" / "policy_errors"
PAGE: Final = Path(__file__).parents[2] / "docs" / "policy-errors.md"
NAMESPACE: Final = "shop"
"""As the cases and the page call the namespace, whatever it is called where they are tried."""
NAME: Final = "orders"
REFUSAL: Final = "refusal"
API_VERSION: Final = "handfast.dev/v1alpha1"

HEAD: Final = """# What you are told of a policy that is wrong

Written by `make policy-errors` from the words of a cluster, and compared with one by `tests/cluster/behaviour`. Each
policy below is called `orders`, an MTLSPolicy in the namespace `shop`; its `apiVersion` is `handfast.dev/v1alpha1`.

"""
CHAPTERS: Final = {
    "refused": """## Refused by the API server

`kubectl apply` ends with these words, and nothing has changed.

""",
    "misleading": """## Accepted, and told in a condition

`kubectl describe mtlspolicy orders` shows the conditions; `kubectl wait --for=condition=Doubtful` waits for one.
A doubt changes nothing: the policy is in force as it stands. In the namespace run, all with the service account
`default`: `orders` and `cart`, whose container declares port 8080; `explicit` in explicit mode; `legacy`, which skips
the inbound port 8080; and `bare`, which opted out and has no sidecar.

Not shown, because it takes a week: `StillAudit`, of a policy whose `enforcement: Audit` was last changed more than
seven days ago.

""",
}


@dataclass(frozen=True)
class Case:
    """A policy, and where its author is told."""

    chapter: str
    title: str
    kind: str
    spec: str
    """YAML as he writes it."""
    told: str
    """REFUSAL, or the type of a condition."""
    beside: str
    """YAML of a policy that is there before."""

    def policy(self, namespace: str) -> Manifest:
        """To be applied."""
        return _manifest(
            {"kind": self.kind, "metadata": {"name": NAME}, "spec": _read(self.spec, namespace)}, namespace
        )

    def others(self, namespace: str) -> list[Manifest]:
        """To be applied before."""
        return [_manifest(each, namespace) for each in [_read(self.beside, namespace)] if each]

    def section(self, words: str) -> str:
        """Of the page. `words`: what is told."""
        kind = "" if self.kind == "MTLSPolicy" else f"kind: {self.kind}\n"
        parts = [f"### {self.title}\n", indent(f"{kind}spec:\n{indent(self.spec.strip(), '  ')}", "    ")]
        if self.beside:
            parts.append(f"\nbeside\n\n{indent(self.beside.strip(), '    ')}")
        if self.told != REFUSAL:
            parts.append(f"\nCondition `{self.told}`:")
        return "\n".join([*parts, "", *(f"> {line}".rstrip() for line in words.splitlines()), ""])


def cases() -> list[Case]:
    """All of them, in the order of the page."""
    return [
        Case(
            chapter,
            each["title"],
            each.get("kind", "MTLSPolicy"),
            each["spec"],
            each.get("told", REFUSAL),
            each.get("beside", ""),
        )
        for chapter in CHAPTERS
        for each in yaml.safe_load_all((CASES / f"{chapter}.yaml").read_text())
    ]


def render(words: Mapping[str, str]) -> str:
    """The page. `words`: what is told, by title; KeyError for a case of which nothing is known."""
    text = HEAD
    for chapter, opening in CHAPTERS.items():
        text += (
            opening + "\n".join(each.section(words[each.title]) for each in cases() if each.chapter == chapter) + "\n"
        )
    return text.rstrip("\n") + "\n"


def told_by_page() -> dict[str, str]:
    """What the page says is told, by title."""
    found: dict[str, str] = {}
    for section in PAGE.read_text().split("\n### ")[1:]:
        lines = section.split("\n## ")[0].splitlines()
        found[lines[0]] = "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines if line.startswith(">"))
    return found


def _read(text: str, namespace: str) -> Any:
    return yaml.safe_load(text.replace(NAMESPACE, namespace))


def _manifest(policy: Manifest, namespace: str) -> Manifest:
    where = {} if policy["kind"].startswith("Cluster") else {"namespace": namespace}
    return {"apiVersion": API_VERSION, **policy, "metadata": {**policy["metadata"], **where}}
