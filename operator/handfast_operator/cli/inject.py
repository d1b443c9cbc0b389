"""`inject`: puts the sidecar into manifests, as the webhook does when their pods are created.

The one rule: nothing is printed unless all of it may be applied, so that `handfast inject -f - | kubectl apply -f -`
never applies a part.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from handfast_operator import __version__
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.final_policies import FinalPolicies
from handfast_operator.admission.manual import REFUSED, Scene, Told, inject_object, pods_of
from handfast_operator.admission.webhook import random_word
from handfast_operator.cli.errors import NO, USAGE, YES, CliError
from handfast_operator.cli.installation import installed
from handfast_operator.cli.manifests import Document, joined, read
from handfast_operator.cli.output import say, warn
from handfast_operator.cli.reader import Reader
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NAMESPACES
from handfast_operator.cluster.templates import places
from handfast_operator.policy.final import Demand
from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadInput

NAME: Final = "inject"
HELP: Final = "put the sidecar into manifests: a Pod in full, a template the label"
_NO_DEMANDS: Final[Sequence[Demand]] = ()
_DEFAULT_NAMESPACE: Final = "default"
_SETTINGS: Final = {
    "sidecar_image": ("IMAGE", "of the sidecar"),
    "sidecar_pull_policy": ("POLICY", "Always, IfNotPresent or Never"),
    "sidecar_resources": ("JSON", 'requests and limits, such as {"limits": {"memory": "256Mi"}}'),
    "sidecar_log_level": ("LEVEL", "debug, info, warning or error"),
    "sidecar_cipher_suites": ("SUITES", "of TLS 1.3, with colons between"),
}
"""Options by the names of `Settings`: each stands for what the installation has."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is injected, and by which settings."""
    filename(parser)
    parser.add_argument("--show", action="store_true", help="print the pods that become of it, one of a template")
    parser.add_argument("--offline", action="store_true", help="ask no cluster: settings are those of the options")
    group = parser.add_argument_group("settings, each in place of the installation's")
    for name, (metavar, text) in _SETTINGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", default="", metavar=metavar, help=text)


def filename(parser: argparse.ArgumentParser) -> None:
    """The option that names manifests."""
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="a file, a folder, or - for standard input; may be repeated",
    )


def without_cluster(args: argparse.Namespace) -> bool:
    """Whether no cluster is asked."""
    return bool(args.offline)


async def run(args: argparse.Namespace, client: ApiClient | None) -> int:
    """Exit code 0; 1 where a pod is refused, and then nothing is printed. Raises CliError, ApiError."""
    documents = read(args.filename)
    scene = await _scene(args, client, documents)
    results = [inject_object(each.value, scene, random_word) for each in documents]
    told = [each for _value, some in results for each in some]
    if any(each.outcome == REFUSED for each in told):
        for each in told:
            if each.outcome == REFUSED:
                warn(str(each))
        return NO
    if args.show:
        shown = [pod for each in documents for pod in pods_of(each.value, scene, _any_word)]
        say_objects(args, shown)
    else:
        write(args, documents, [value for value, _told in results])
    tell(told)
    return YES


def write(args: argparse.Namespace, documents: Sequence[Document], values: Sequence[Any]) -> None:
    """As they came, or as what `-o` asks for."""
    if args.output in ("json", "yaml"):
        say_objects(args, [each for each in values if each is not None])
        return
    texts = [each.changed(value) for each, value in zip(documents, values, strict=True)]
    text = joined(texts, is_json=all(each.is_json for each in documents))
    say(text.removesuffix("\n"))


def say_objects(args: argparse.Namespace, objects: Sequence[Any]) -> None:
    """One after another, as `kubectl apply -f -` takes them."""
    if args.output == "json":
        for each in objects:
            say(json.dumps(each, indent=4, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415 - where it is asked for

    say(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True).removesuffix("\n"))


def tell(told: Sequence[Told]) -> None:
    """Beside the answer: what became of each."""
    for each in told:
        warn(str(each))
    if not told:
        warn("nothing in it makes pods: it is passed on as it came")


def _any_word() -> str:
    """Where a pod is shown and not made: its Secret is named when it is created."""
    return "x" * 10


async def _scene(args: argparse.Namespace, client: ApiClient | None, documents: Sequence[Document]) -> Scene:
    namespace = args.namespace or _DEFAULT_NAMESPACE
    found = [place for each in documents for place in places(each.value)]
    in_full = args.show or any(place.once for place in found)
    labels = dict(_labels_within(documents))
    if client is None:
        if in_full and not args.sidecar_image:
            raise CliError("--offline knows no sidecar of its own: give --sidecar-image", USAGE)
        return Scene(_options(args, Settings(namespace=args.operator_namespace)), namespace, labels)
    reader = Reader(client)
    options = InjectionOptions(args.operator_namespace, "")
    if in_full:
        there = await installed(reader, args.operator_namespace)
        options = _options(args, there.settings)
        if there.version and there.version != __version__:
            warn(
                f"the webhook is of version {there.version}, this program of {__version__}: what is injected may"
                " differ, and the webhook puts it right when the pod is created"
            )
    demands = dict.fromkeys(labels, _NO_DEMANDS)
    for each in sorted({place.namespace or namespace for place in found}):
        if each not in labels:
            labels[each] = await _labels_of(reader, each)
        demands[each] = await reader.permitted(
            FinalPolicies(client).asked(each, labels[each]),
            (),
            f"whether a final policy refuses pods of {each} is not known",
            matters=False,
        )
    for note in reader.notes:
        warn(note)
    return Scene(options, namespace, labels, demands)


def _options(args: argparse.Namespace, settings: Settings) -> InjectionOptions:
    given = [name for name in _SETTINGS if getattr(args, name)]
    try:
        parsed = Settings.from_environment({f"HANDFAST_{name.upper()}": getattr(args, name) for name in given})
    except BadInput as error:
        raise CliError(str(error), USAGE) from error
    return InjectionOptions.of(replace(settings, **{name: getattr(parsed, name) for name in given}))


async def _labels_of(reader: Reader, namespace: str) -> Mapping[str, str]:
    raw = await reader.permitted(
        reader.one(NAMESPACES, "", namespace),
        None,
        f"whether the Pod Security Standard of {namespace} refuses its pods is not known",
        matters=False,
    )
    return dict(((raw or {}).get("metadata") or {}).get("labels") or {})


def _labels_within(documents: Iterable[Document]) -> Iterable[tuple[str, Mapping[str, str]]]:
    """Of the namespaces that are to be made by the same manifests."""
    for each in documents:
        value = each.value or {}
        if value.get("kind") == "Namespace" and value.get("apiVersion") == "v1":
            meta = value.get("metadata") or {}
            yield str(meta.get("name")), dict(meta.get("labels") or {})
