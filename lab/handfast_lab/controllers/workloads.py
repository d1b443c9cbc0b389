"""Deployments and Jobs as far as they make pods: new pods before old ones go, and a Job that is done says so.

ReplicaSets are left out: a Deployment owns its pods itself, which nobody in the lab can tell from the real thing but
`kubectl get replicasets`.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from handfast_lab.api.following import Following
from handfast_lab.api.port import Api
from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.recording import Events

Json = dict[str, Any]
DEPLOYMENTS: Final = "deployments.apps"
JOBS: Final = "jobs.batch"
COMPONENT: Final = "handfast-lab-controllers"
RETRY_S: Final = 1.0
"""Seconds until what was refused is tried again."""
_HASH: Final = "pod-template-hash"


class Workloads:
    """Makes and deletes pods until there are as many as wanted."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._following = Following(api, DEPLOYMENTS, JOBS, "pods")
        self._events: dict[str, Events] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._following.run(self._look)

    async def _look(self) -> float | None:
        failed = False
        for kind, act in ((DEPLOYMENTS, self._deploy), (JOBS, self._work)):
            for each in self._following.all(kind):
                if "deletionTimestamp" in each["metadata"]:
                    continue
                try:
                    await act(each, self._pods_of(each))
                except ApiProblem as problem:
                    failed = True
                    await self._tell(each, problem)
        return RETRY_S if failed else None

    def _pods_of(self, owner: Json) -> list[Json]:
        """Asked of the API server, not of what we follow: a pod made a moment ago must count."""
        meta = owner["metadata"]
        return [
            pod
            for pod in self._api.list("pods", meta["namespace"])
            if any(reference["uid"] == meta["uid"] for reference in pod["metadata"].get("ownerReferences") or ())
        ]

    async def _deploy(self, deployment: Json, pods: list[Json]) -> None:
        spec, namespace = deployment["spec"], deployment["metadata"]["namespace"]
        current = template_hash(spec["template"])
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in alive if pod["metadata"]["labels"].get(_HASH) == current]
        old = [pod for pod in alive if pod not in new]
        wanted = spec["replicas"]
        for _ in range(wanted - len(new)):
            await self._api.create(_pod(deployment, spec["template"], {_HASH: current}))
        ready = [pod for pod in new if is_ready(pod)]
        surplus = [*sorted(new, key=is_ready)[: max(0, len(new) - wanted)], *(old if len(ready) >= wanted else [])]
        for pod in surplus:
            await self._api.delete("pods", namespace, pod["metadata"]["name"])
        await self._say(deployment, DEPLOYMENTS, _deployment_status(deployment, new, old))

    async def _work(self, job: Json, pods: list[Json]) -> None:
        conditions = (job.get("status") or {}).get("conditions") or ()
        if any(each["type"] in ("Complete", "Failed") for each in conditions):
            return
        ended = {
            phase: sum((pod.get("status") or {}).get("phase") == phase for pod in pods)
            for phase in ("Succeeded", "Failed")
        }
        active = len(pods) - sum(ended.values())
        spec = job["spec"]
        done = ended["Succeeded"] >= spec.get("completions", 1)
        failed = ended["Failed"] > spec.get("backoffLimit", 6)
        if not done and not failed and active < min(spec.get("parallelism", 1), 1):
            name = job["metadata"]["name"]
            await self._api.create(
                _pod(job, spec["template"], {"job-name": name, "batch.kubernetes.io/job-name": name})
            )
            active += 1
        status: Json = {"active": active, "succeeded": ended["Succeeded"], "failed": ended["Failed"]}
        if done or failed:
            kind, reason = ("Complete", "CompletionsReached") if done else ("Failed", "BackoffLimitExceeded")
            status["conditions"] = [_condition(kind, True, reason)]
            status["completionTime"] = _now()
        await self._say(job, JOBS, status)

    async def _say(self, owner: Json, kind: str, status: Json) -> None:
        before = owner.get("status") or {}
        kept = _settled(status, before)
        if any(before.get(name) != value for name, value in kept.items()):
            meta = owner["metadata"]
            await self._api.patch(kind, meta["namespace"], meta["name"], {"status": kept}, subresource="status")

    async def _tell(self, owner: Json, problem: ApiProblem) -> None:
        """Why there are no pods: what a person finds with `kubectl describe`."""
        if problem.code in (404, 409):
            return  # it is on its way out, or somebody was faster; the next look sees
        events = self._events.setdefault(owner["metadata"]["uid"], Events(self._api, COMPONENT, owner))
        await events.record("Warning", "FailedCreate", f"Error creating: {problem.message}")


def template_hash(template: Json) -> str:
    """Short, and another one for every other template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def is_ready(pod: Json) -> bool:
    """As its conditions say."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _pod(owner: Json, template: Json, labels: dict[str, str]) -> Json:
    meta = owner["metadata"]
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "-".join((meta["name"], *([labels[_HASH]] if _HASH in labels else []), "")),
            "namespace": meta["namespace"],
            "labels": (given.get("labels") or {}) | labels,
            "annotations": given.get("annotations") or {},
            "ownerReferences": [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": owner["kind"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": template["spec"],
    }


def _deployment_status(deployment: Json, new: list[Json], old: list[Json]) -> Json:
    ready = sum(map(is_ready, (*new, *old)))
    available = ready >= deployment["spec"]["replicas"]
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(new) + len(old),
        "updatedReplicas": len(new),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, deployment["spec"]["replicas"] - ready),
        "conditions": [
            _condition(
                "Available", available, "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
            ),
            _condition("Progressing", True, "NewReplicaSetAvailable" if available else "ReplicaSetUpdated"),
        ],
    }


def _condition(kind: str, holds: bool, reason: str, message: str = "") -> Json:
    now = _now()
    return {
        "type": kind,
        "status": str(holds),
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
        "lastUpdateTime": now,
    }


def _settled(status: Json, before: Json) -> Json:
    """Conditions that say what they said keep their time, so that a status without news is no change."""
    known = {each["type"]: each for each in before.get("conditions") or ()}

    def kept(condition: Json) -> Json:
        old = known.get(condition["type"], {})
        same = all(old.get(name) == condition[name] for name in ("status", "reason", "message"))
        return old if same else condition

    return status | ({"conditions": [kept(each) for each in status["conditions"]]} if "conditions" in status else {})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
