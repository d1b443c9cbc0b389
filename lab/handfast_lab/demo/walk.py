"""The walk: each step with its title, its reason, what a person would type, and what must hold."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from handfast_lab.demo.shop import SECRET
from handfast_lab.demo.stage import Stage
from handfast_lab.network.capture import Capture
from handfast_sidecar.observe.access_log import ALLOWED, REFUSED
from handfast_sidecar.wellknown import MESH_PORT

Json = dict[str, Any]
SHOP: Final = Path(__file__).with_name("shop.yaml")
STRICT: Final = """\
apiVersion: handfast.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: shop}
spec: {mode: Strict}
"""
ORDERS: Final = """\
apiVersion: handfast.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  allow: [{from: [{serviceAccount: cart}]}]
"""
SHORT: Final = """\
apiVersion: handfast.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: short-lived, namespace: shop}
spec: {certificate: {ttl: 1h}}
"""
APPS: Final = ("web", "cart", "orders")
LOAD_S: Final = 6
CONNECTIONS: Final = 8
EXCERPT: Final = 64
"""Bytes of the wire that are shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to see."""

    title: str
    why: str
    act: Callable[[Stage], Awaitable[None]]


async def before(stage: Stage) -> None:
    await stage.run("get pods -n shop")
    with stage.wire(*await _addresses(stage)) as seen:
        answer = await stage.run("exec deploy/web -n shop -c app -- shop get http://web/")
    stage.check(SECRET in answer, "the shop works")
    _show(stage, seen, SECRET.encode())
    stage.check(seen.contains(SECRET.encode()), "anybody on the network reads the card's number")


async def inject(stage: Stage) -> None:
    await stage.run("get pods -n handfast-system")
    await stage.run("label namespace shop handfast.dev/inject=enabled")
    await stage.run("rollout restart deployment -n shop")
    for name in APPS:
        await stage.run(f"rollout status deployment/{name} -n shop --timeout=60s", show=False)

    async def alone() -> bool:
        return len(await _pods(stage)) == len(APPS)

    await stage.until("the old pods are gone", alone)
    await stage.run("get pods -n shop")
    sidecars = [
        each["name"] for pod in await _pods(stage) for each in pod["status"]["initContainerStatuses"] if each["ready"]
    ]
    stage.check(sidecars.count("handfast-proxy") == len(APPS), "every pod has a sidecar with an identity of its own")


async def encrypted(stage: Stage) -> None:
    with stage.wire(*await _addresses(stage)) as seen:
        answer = await stage.run("exec deploy/web -n shop -c app -- shop get http://web/")
    stage.check(SECRET in answer, "the shop works as before")
    _show(stage, seen, b"\x17\x03\x03", port=MESH_PORT)
    stage.check(
        not seen.contains(SECRET.encode()), f"none of the {seen.payload_bytes()} bytes on the wire gives it away"
    )
    stage.check(
        MESH_PORT in {port for _, port in seen.tls13_servers()}, f"they are TLS 1.3, to port {MESH_PORT} of the sidecar"
    )
    line = await _last_line(stage, "orders", ALLOWED)
    stage.check(line["peer"].endswith("/ns/shop/sa/cart"), f"orders knows who called: {line['peer']}")


async def strict(stage: Stage) -> None:
    await stage.run("exec outsider -n elsewhere -- shop get http://cart.shop/")
    stage.teller.say(
        "     A pod without a sidecar still gets in: that is Permissive, so that nothing breaks. Close the door:"
    )
    await stage.run("apply -f -", STRICT)

    async def refused() -> bool:
        return not await stage.ask("exec outsider -n elsewhere -- shop get http://cart.shop/")

    await stage.until("the outsider is refused", refused)
    await stage.run("exec outsider -n elsewhere -- shop get http://cart.shop/", fails=True)
    answer = await stage.run("exec deploy/web -n shop -c app -- shop get http://web/")
    stage.check(SECRET in answer, "the shop works, the outsider is refused")
    line = await _last_line(stage, "cart", REFUSED)
    _tell_refusal(stage, "cart", line)
    stage.check(line["reason"] == "plaintext_refused", "and the log of the sidecar says why, and by which policy")
    await stage.run("wait mtls/strict -n shop --for=condition=Ready", show=False)
    await stage.run("get mtls -n shop")


async def allowed(stage: Stage) -> None:
    await stage.run("exec deploy/web -n shop -c app -- shop get http://orders/")
    stage.teller.say("     Every identity may still ask for the card's number. Only cart has to:")
    await stage.run("apply -f -", ORDERS)

    async def refused() -> bool:
        return not await stage.ask("exec deploy/web -n shop -c app -- shop get http://orders/")

    await stage.until("web is refused", refused)
    await stage.run("exec deploy/web -n shop -c app -- shop get http://orders/", fails=True)
    answer = await stage.run("exec deploy/web -n shop -c app -- shop get http://web/")
    stage.check(SECRET in answer, "web still gets its answer through cart, and no more than that")
    line = await _last_line(stage, "orders", REFUSED)
    _tell_refusal(stage, "orders", line)
    stage.check(
        (line["reason"], line["rule"]) == ("denied", "MTLSPolicy shop/orders"),
        f"orders knows whom it refused: {line['peer']}",
    )


async def rotated(stage: Stage) -> None:
    serials = await _serials(stage)
    words = f"exec deploy/web -n shop -c app -- shop load http://cart/ --seconds {LOAD_S} --connections {CONNECTIONS}"
    stage.teller.command(f"kubectl {words} &")
    load = asyncio.create_task(stage.run(words, show=False))
    try:
        await stage.run("apply -f -", SHORT)

        async def exchanged() -> bool:
            now = await _serials(stage)
            return all(now[name] != serials[name] for name in serials)

        await stage.until("every certificate is new", exchanged, LOAD_S)
        for name, serial in (await _serials(stage)).items():
            stage.teller.output(f"{name}: serial {serials[name][:12]}... is now {serial[:12]}...")
    finally:
        report = await load
    stage.teller.output(report)
    counted = json.loads(report)
    stage.check(counted["failed"] == 0, f"every certificate was exchanged: {counted['requests']} requests, 0 failed")
    stage.check(counted["connections"] == CONNECTIONS, "and no connection was closed for it")


async def who_talks(stage: Stage) -> None:
    words = "edges -n shop"
    wanted = {("web", "cart"), ("cart", "orders")}

    async def reported() -> bool:
        return _encrypted(await stage.handfast(f"{words} -o json")) >= wanted

    await stage.until("the sidecars report", reported)
    stage.teller.command(f"handfast {words}")
    stage.teller.output(await stage.handfast(words))
    stage.check(await reported(), "the directory knows who talks to whom, from the sidecars themselves")


STEPS: Final = (
    Step("Before", "A shop: web asks cart, cart asks orders, over plain HTTP, as most applications do.", before),
    Step("Inject", "Handfast is installed. A label on the namespace, and a restart of what runs in it.", inject),
    Step("Encrypted", "The same request again. Nothing in the applications has changed.", encrypted),
    Step("Strict", "Only who proves an identity may connect. A pod without a sidecar may not.", strict),
    Step("Allow", "Who may ask whom, by identity: a policy for the pods of orders.", allowed),
    Step("Rotation", "Certificates live shortly and are exchanged while traffic flows. Here: all, at once.", rotated),
    Step("Who talks to whom", "Each sidecar tells what it has carried; nobody can speak for another.", who_talks),
)


async def _pods(stage: Stage) -> list[Json]:
    found: list[Json] = json.loads(await stage.ask("get pods -n shop -o json"))["items"]
    return found


async def _addresses(stage: Stage) -> list[str]:
    return [pod["status"]["podIP"] for pod in await _pods(stage)]


async def _serials(stage: Stage) -> dict[str, str]:
    """The serial of the leaf in each Secret."""
    found = json.loads(await stage.ask("get secrets -n shop -l handfast.dev/identity=true -o json"))["items"]
    return {each["metadata"]["name"]: each["metadata"]["annotations"]["handfast.dev/serial"] for each in found}


async def _last_line(stage: Stage, name: str, verdict: str) -> Json:
    """The last line of a sidecar's access log with this verdict."""
    found: list[Json] = []

    async def there() -> bool:
        text = await stage.ask(f"logs deploy/{name} -n shop -c handfast-proxy")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found[:] = [line for line in lines if line.get("logger") == "handfast.access" and line["verdict"] == verdict]
        return bool(found)

    await stage.until(f"a line of the access log of {name}", there)
    return found[-1]


def _tell_refusal(stage: Stage, name: str, line: Json) -> None:
    stage.teller.command(f"kubectl logs deploy/{name} -n shop -c handfast-proxy | grep refused | tail -1")
    stage.teller.output(json.dumps({each: line[each] for each in ("verdict", "reason", "rule")}))


def _show(stage: Stage, seen: Capture, mark: bytes, port: int | None = None) -> None:
    """A piece of the wire around a mark, as a packet dump shows it; of connections with this port alone."""
    for way, content in seen.streams().items():
        at = content.find(mark)
        if at >= 0 and port in (None, way.source_port, way.target_port):
            piece = content[max(0, at - EXCERPT // 2) : at + EXCERPT]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
            ends = f"{way.source}:{way.source_port} -> {way.target}:{way.target_port}"
            stage.teller.output(f"on the wire, {ends}:\n{text}")
            return


def _encrypted(text: str) -> set[tuple[str, str]]:
    """Callers and whom they called, by name, over encrypted connections."""
    return {
        (edge["source"]["name"].rpartition("/")[2], edge["destination"]["name"].rpartition("/")[2])
        for edge in json.loads(text)["edges"]
        if edge["encrypted"]
    }
