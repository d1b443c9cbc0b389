"""What to do about a refusal whose own sentence leaves it open."""

from handfast_operator.explain.parties import Client
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.verdict import Verdict


def remedy(verdict: Verdict, policy: EffectivePolicy, client: Client, trust_domain: str, port: int) -> str:
    """Empty where the verdict's sentence says it already."""
    if verdict.reason != "denied":
        return ""
    if client.identity.trust_domain != trust_domain:
        return f"name {client.identity} as a `principal` in the `allow` of a policy that selects the server"
    if policy.deny.origin_for(client.identity, port):
        return f"if it shall connect, take it out of `deny` in {verdict.rule}: no other policy can take a `deny` back"
    entry = f"{{from: [{{namespace: {client.namespace}, serviceAccount: {client.account}}}], ports: [{port}]}}"
    return f"if it shall connect, add to `allow` in {verdict.rule}: {entry}"
