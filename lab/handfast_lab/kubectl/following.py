"""What happens to one object, until a deadline: the ground of `wait`, `rollout status` and `delete`."""

import json
from collections.abc import Iterator
from typing import Any

from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import Target

Json = dict[str, Any]


def follow(session: Session, target: Target, deadline: float) -> Iterator[Json | None]:
    """The object now and after each change; None while it is not there. Raises TimeoutError, Refusal, Stop.

    `deadline`: by `time.monotonic()`. A watch that the server ends begins anew, with what is there then.
    """
    collection = Target(target.kind, target.namespace, "").path()
    name = {"fieldSelector": f"metadata.name={target.name}"}
    while True:
        found = session.server.ask("GET", collection, query=name)
        yield next(iter(found["items"]), None)
        since = {"watch": "true", "resourceVersion": found["metadata"]["resourceVersion"]}
        for event in map(json.loads, session.server.lines(collection, name | since, deadline=deadline)):
            if event["type"] == "ERROR":
                break
            if event["type"] != "BOOKMARK":
                yield None if event["type"] == "DELETED" else event["object"]
