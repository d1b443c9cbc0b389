"""The table of edges: order, numbers, and what is said when there are none."""

from handfast_operator.cli.edges import chosen, document, shown
from handfast_operator.cli.evidence import Collected
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, PodReport

WEB = Party("web", "deployment/web", "spiffe://cluster.local/ns/web/sa/web")
CART = Party("shop", "deployment/cart")
ORDERS = Party("shop", "deployment/orders")
BUSY = EdgeView(
    WEB, ORDERS, 8080, True, 40, 2, 999, 1.25, {"denied": 1, "limit_rate": 3}, {}, "MTLSPolicy shop/o", 95.0
)
PLAIN = EdgeView(Party("", "10.0.0.9"), CART, 80, False, 1)
OTHER = EdgeView(WEB, Party("web", "deployment/db"), 5432, True)
REPORT = PodReport("shop/cart-0", "", 99.0, "", "", "", 1)


def collected(*edges: EdgeView, **pods: PodReport) -> Collected:
    return Collected(EvidenceView(100.0, edges, pods), 2, ("one did not answer",))


def test_edges_are_told_one_a_line_those_of_one_server_together() -> None:
    there = collected(OTHER, BUSY, PLAIN)
    assert there.view is not None
    lines = shown(there, chosen(there.view, ""), "", wide=False).splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["SOURCE", "DESTINATION", "PORT"],
        ["10.0.0.9", "shop/deployment/cart", "80"],
        ["web/deployment/web", "shop/deployment/orders", "8080"],
        ["web/deployment/web", "web/deployment/db", "5432"],
    ]
    assert " ".join(lines[2].split()[3:]) == "yes 40 2 1.2/s limit_rate 3, denied 1 - 5s MTLSPolicy shop/o"
    assert " ".join(lines[1].split()[3:]) == "no 1 0 0.0/s - - - -"


def test_a_namespace_has_the_edges_that_begin_or_end_in_it() -> None:
    there = collected(OTHER, BUSY, PLAIN)
    assert there.view is not None
    assert chosen(there.view, "shop") == [PLAIN, BUSY]
    assert chosen(there.view, "web") == [BUSY, OTHER]


def test_wide_shows_who_proved_what() -> None:
    assert (
        shown(collected(BUSY), [BUSY], "", wide=True)
        .splitlines()[1]
        .endswith("999     spiffe://cluster.local/ns/web/sa/web   -")
    )


def test_an_empty_answer_says_why_it_may_be_empty() -> None:
    assert "no sidecar has reported" in shown(collected(), [], "shop", wide=False)
    said = shown(collected(uid=REPORT), [], "shop", wide=False)
    assert said.startswith("No connections in the namespace shop. 1 sidecars report")


def test_as_data_it_says_whom_it_is_from() -> None:
    found = document(collected(BUSY), [BUSY])
    assert found["replicas"] == {"asked": 2, "problems": ["one did not answer"]}
    assert found["edges"][0]["rule"] == "MTLSPolicy shop/o"
