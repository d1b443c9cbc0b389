"""Which entries of `allow` let nobody in, because a `deny` that holds beside them names all whom they name. Pure."""

from collections.abc import Sequence

from handfast_sidecar.policy.authorisation import Rule, Source


def covered_by(allowed: Rule, denied: Sequence[Rule]) -> str:
    """The object whose `deny` takes back an entry of `allow` to the last caller; none: ""."""
    if means_nobody(allowed):
        return ""
    relevant = [
        each for each in denied if each.ports is None or (allowed.ports is not None and allowed.ports <= each.ports)
    ]
    total = next((each.origin for each in relevant if each.sources is None), "")
    if total or allowed.sources is None:
        return total
    found = [_denial(source, relevant) for source in allowed.sources]
    return found[0] if all(found) else ""


def means_nobody(rule: Rule) -> bool:
    """Whether it says an empty list, which is not the same as leaving it out."""
    return rule.sources == () or rule.ports == frozenset()


def _denial(source: Source, denied: Sequence[Rule]) -> str:
    return next((rule.origin for rule in denied for each in rule.sources or () if _includes(each, source)), "")


def _includes(wide: Source, narrow: Source) -> bool:
    if wide.spki and wide.spki != narrow.spki:
        return False
    if wide.principal is None:
        return True
    if narrow.principal is None:
        return False
    return wide.principal == narrow.principal or (
        wide.principal.below and narrow.principal.text.startswith(wide.principal.text)
    )
