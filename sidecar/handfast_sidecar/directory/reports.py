"""A sidecar's report and its edges, as JSON and back: the evidence in the directory protocol."""

from typing import Any

from handfast_sidecar.directory.fields import count, counts, number, text, texts, unix_time
from handfast_sidecar.directory.messages import Edge, Report

Json = dict[str, Any]


def report_to_json(report: Report) -> Json:
    """All but its type."""
    return {
        "serial": report.serial,
        "notAfter": report.not_after,
        "bundle": report.bundle,
        "revision": report.revision,
        "edges": [_edge_to_json(edge) for edge in report.edges],
        **_optional(report),
    }


def report_from_json(document: Json) -> Report:
    """The inverse. Raises BadMessage and KeyError."""
    return Report(
        serial=text(document, "serial"),
        not_after=text(document, "notAfter"),
        bundle=text(document, "bundle"),
        revision=number(document, "revision"),
        edges=tuple(_edge_from_json(each) for each in document.get("edges", ())),
        run=text(document, "run") if "run" in document else "",
        number=count(document, "number"),
        repeated=document.get("repeated") is True,
        issuers=texts(document, "issuers") if "issuers" in document else (),
        not_before=text(document, "notBefore") if "notBefore" in document else "",
    )


def _optional(report: Report) -> Json:
    """Fields that are left out where they are empty."""
    document: Json = {}
    if report.run:
        document["run"] = report.run
    if report.number:
        document["number"] = report.number
    if report.repeated:
        document["repeated"] = True
    if report.issuers:
        document["issuers"] = list(report.issuers)
    if report.not_before:
        document["notBefore"] = report.not_before
    return document


def _edge_to_json(edge: Edge) -> Json:
    document: Json = {
        "direction": edge.direction,
        "peer": edge.peer,
        "port": edge.port,
        "encrypted": edge.encrypted,
        "connections": edge.connections,
        "bytesIn": edge.bytes_in,
        "bytesOut": edge.bytes_out,
        "refused": dict(edge.refused),
    }
    if edge.open:
        document["open"] = edge.open
    if edge.last:
        document["last"] = edge.last
    if edge.audited:
        document["audited"] = dict(edge.audited)
    if edge.rule:
        document["rule"] = edge.rule
    if edge.foreign:
        document["foreign"] = True
    return document


def _edge_from_json(document: Json) -> Edge:
    return Edge(
        direction=text(document, "direction"),
        peer=text(document, "peer"),
        port=number(document, "port"),
        encrypted=document["encrypted"] is True,
        connections=count(document, "connections"),
        bytes_in=count(document, "bytesIn"),
        bytes_out=count(document, "bytesOut"),
        refused=counts(document, "refused"),
        open=count(document, "open"),
        last=unix_time(document, "last"),
        audited=counts(document, "audited"),
        rule=text(document, "rule") if "rule" in document else "",
        foreign=document.get("foreign") is True,
    )
