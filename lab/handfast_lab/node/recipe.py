"""What launch.py is told to make of a container: its files, its user, its environment, its command line."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from handfast_lab.api.port import Api
from handfast_lab.api.recording import Events
from handfast_lab.node import layout
from handfast_lab.node.credentials import credentials
from handfast_lab.node.environment import Data, command_line, environment, expand, hostname
from handfast_lab.node.processes import MachineTree, reach
from handfast_lab.node.seams import Images, Json, NodeFacts, PodNetwork, Tokens

LAST_WORDS: Final = "/dev/termination-log"
_NAMES: Final = ("hosts", "hostname", "resolv.conf")


class UnknownImage(Exception):
    """This node has no such image."""


@dataclass(frozen=True, slots=True)
class World:
    """What all pods of the node share."""

    api: Api
    network: PodNetwork
    images: Images
    node: NodeFacts
    state: Path
    tokens: Tokens | None = None
    tree: layout.Tree = field(default_factory=MachineTree)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What the containers of a pod share."""

    world: World
    pod: Json
    data: Data
    addresses: tuple[str, ...]
    netns: Path | None
    """None: the node's own."""
    state: Path
    """The pod's directory: volumes, etc, the containers' last words."""
    events: Events
    changed: Callable[[], None]
    """Called whenever a container stands otherwise."""

    def write_names(self) -> None:
        """The pod's own files in /etc."""
        name, node, namespace = hostname(self.pod), self.world.node, self.pod["metadata"]["namespace"]
        subdomain = self.pod["spec"].get("subdomain")
        names = [f"{name}.{subdomain}.{namespace}.svc.{node.cluster_domain}", name] if subdomain else [name]
        aliases = [(each["ip"], *each["hostnames"]) for each in self.pod["spec"].get("hostAliases") or ()]
        hosts = [
            ("127.0.0.1", "localhost"),
            ("::1", "localhost"),
            *((each, *names) for each in self.addresses),
            *aliases,
        ]
        resolv_conf = node.resolv_conf.replace("{namespace}", namespace)
        texts = ("".join("\t".join(each) + "\n" for each in hosts), f"{name}\n", resolv_conf)
        (self.state / "etc").mkdir(parents=True, exist_ok=True)
        for file, text in zip(_NAMES, texts, strict=True):
            (self.state / "etc" / file).write_text(text)


def recipe(box: Sandbox, container: Json, last_words: Path) -> Json:
    """The container's start. Raises CannotConfigure and UnknownImage."""
    world = box.world
    image = world.images.command(container["image"])
    if image is None:
        raise UnknownImage(f'the lab has no image "{container["image"]}"')
    who = credentials(box.pod, container, image)
    variables = environment(box.pod, container, image, world.node, box.addresses, box.data)
    mounts = [layout.Mount(str(last_words), container.get("terminationMessagePath") or LAST_WORDS)]
    mounts += [layout.Mount(str(box.state / "etc" / name), f"/etc/{name}") for name in _NAMES]
    mounts += [_volume_mount(box, each, variables) for each in container.get("volumeMounts") or ()]
    ways = reach() | {each for each in image.entrypoint if each.startswith("/")}
    mirror, placed = layout.plan(world.tree, mounts, sorted(ways))
    return {
        "container": {
            "netns": str(box.netns) if box.netns is not None else "",
            "hostname": hostname(box.pod),
            # Empty: each container covers it with its root, in its own mount namespace.
            "root": str(world.state / "root"),
            "mirror": mirror,
            "mounts": [asdict(each) for each in placed],
        },
        **asdict(who),
        "environment": variables,
        "argv": command_line(container, image, variables),
        "working_dir": container.get("workingDir") or image.working_dir,
        "tty": False,
    }


def _volume_mount(box: Sandbox, mount: Json, variables: dict[str, str]) -> layout.Mount:
    inner = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
    source = box.state / "volumes" / mount["name"] / inner
    if not source.exists():
        source.mkdir(parents=True)
    return layout.Mount(str(source.resolve()), mount["mountPath"], bool(mount.get("readOnly")))
