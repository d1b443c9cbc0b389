"""The layers, walked: who may import whom, and which modules may do I/O."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SIDECAR = ROOT / "sidecar" / "handfast_sidecar"
OPERATOR = ROOT / "operator" / "handfast_operator"
LAB = ROOT / "lab" / "handfast_lab"
IO_MODULES = frozenset(
    {"aiohttp", "asyncio", "kopf", "kubernetes", "os", "pathlib", "socket", "ssl", "subprocess", "OpenSSL"}
)
SIDECAR_MAY_IMPORT = frozenset({"cryptography", "OpenSSL", "handfast_sidecar"})
PURE = [
    SIDECAR / "config",
    SIDECAR / "policy",
    SIDECAR / "versions.py",
    SIDECAR / "directory" / "messages.py",
    SIDECAR / "directory" / "codec.py",
    SIDECAR / "directory" / "answers.py",
    SIDECAR / "directory" / "fields.py",
    SIDECAR / "directory" / "greeting.py",
    SIDECAR / "directory" / "reports.py",
    SIDECAR / "directory" / "book.py",
    SIDECAR / "directory" / "reporting.py",
    SIDECAR / "identity" / "spiffe.py",
    SIDECAR / "identity" / "leaf.py",
    SIDECAR / "identity" / "bundle.py",
    SIDECAR / "interception" / "rules.py",
    SIDECAR / "traffic" / "affinity.py",
    SIDECAR / "traffic" / "endpoint_choice.py",
    SIDECAR / "traffic" / "endpoint_health.py",
    SIDECAR / "traffic" / "locality.py",
    SIDECAR / "traffic" / "permission.py",
    SIDECAR / "traffic" / "proxy_header.py",
    SIDECAR / "traffic" / "routing.py",
    SIDECAR / "tunnel" / "arena.py",
    SIDECAR / "tunnel" / "frames.py",
    SIDECAR / "tunnel" / "hello.py",
    SIDECAR / "tunnel" / "mux.py",
    SIDECAR / "tunnel" / "reasons.py",
    SIDECAR / "tunnel" / "renewal.py",
    SIDECAR / "tunnel" / "unreachable.py",
    OPERATOR / "resources",
    OPERATOR / "policy",
    OPERATOR / "obstacles",
    OPERATOR / "checks",
    OPERATOR / "explain",
    OPERATOR / "cluster" / "http_answer.py",
    OPERATOR / "cluster" / "objects.py",
    OPERATOR / "cluster" / "services.py",
    OPERATOR / "cluster" / "network_policies.py",
    OPERATOR / "cluster" / "store.py",
    OPERATOR / "cluster" / "templates.py",
    OPERATOR / "cluster" / "tls_secret.py",
    OPERATOR / "cluster" / "workload.py",
    OPERATOR / "directory" / "attribution.py",
    OPERATOR / "directory" / "edges.py",
    OPERATOR / "directory" / "evidence.py",
    OPERATOR / "directory" / "index.py",
    OPERATOR / "directory" / "service_answer.py",
    OPERATOR / "directory" / "withheld.py",
    OPERATOR / "cli" / "grammar.py",
    OPERATOR / "cli" / "redaction.py",
    OPERATOR / "evidence",
    OPERATOR / "authority" / "external.py",
    OPERATOR / "authority" / "issuer_certificate.py",
    OPERATOR / "authority" / "issuer_path.py",
    OPERATOR / "authority" / "leaf.py",
    OPERATOR / "authority" / "schedule.py",
    OPERATOR / "authority" / "state.py",
    OPERATOR / "controller" / "issuance.py",
    OPERATOR / "admission" / "annotations.py",
    OPERATOR / "admission" / "containers.py",
    OPERATOR / "admission" / "finality.py",
    OPERATOR / "admission" / "injection.py",
    OPERATOR / "admission" / "manual.py",
    OPERATOR / "admission" / "patch.py",
    OPERATOR / "admission" / "probes.py",
    OPERATOR / "admission" / "refusals.py",
    OPERATOR / "admission" / "removal.py",
    OPERATOR / "admission" / "shape.py",
    OPERATOR / "admission" / "review.py",
    *(
        LAB / "api" / f"{name}.py"
        for name in (
            "applying",
            "cel",
            "defaults",
            "deletion",
            "listing",
            "naming",
            "ownership",
            "patching",
            "problems",
            "protobuf",
            "resources",
            "schema",
            "selection",
            "shape",
            "store",
            "structural",
            "validation",
            "writing",
        )
    ),
    *(LAB / "node" / f"{name}.py" for name in ("credentials", "environment", "layout", "lifecycle", "status")),
    *(LAB / "network" / f"{name}.py" for name in ("addresses", "endpoints")),
    LAB / "kubectl" / "merging.py",
]


def modules(place: Path) -> Iterator[Path]:
    yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def imported(module: Path) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_the_sidecar_never_imports_the_operator() -> None:
    assert [str(module) for module in modules(SIDECAR) if "handfast_operator" in imported(module)] == []


def test_only_the_lab_imports_the_lab() -> None:
    users = [
        str(module) for place in (SIDECAR, OPERATOR) for module in modules(place) if "handfast_lab" in imported(module)
    ]
    assert users == []


def test_the_sidecar_depends_on_three_packages_alone() -> None:
    import sys

    foreign = {name for module in modules(SIDECAR) for name in imported(module)} - set(sys.stdlib_module_names)
    assert foreign <= SIDECAR_MAY_IMPORT


@pytest.mark.parametrize("place", PURE, ids=lambda place: str(place.relative_to(ROOT)))
def test_pure_modules_do_no_io(place: Path) -> None:
    assert place.exists()
    assert {
        str(module): sorted(imported(module) & IO_MODULES) for module in modules(place) if imported(module) & IO_MODULES
    } == {}


def test_kopf_lives_in_the_controller_alone() -> None:
    users = [module for module in modules(OPERATOR) if "kopf" in imported(module)]
    assert all((OPERATOR / "controller") in module.parents for module in users)


@pytest.mark.parametrize("root", ["operator", "sidecar", "lab"])
def test_source_roots_are_no_packages(root: str) -> None:
    """With operator/__init__.py, `python -m pytest` would import ours as the standard library's `operator`."""
    assert not (ROOT / root / "__init__.py").exists()
