import pytest

from handfast_sidecar.observe.metrics import MAX_SERIES, Registry


def test_the_text_format_is_prometheus_own() -> None:
    registry = Registry()
    bytes_total = registry.counter("handfast_bytes_total", "Bytes carried.", ("direction",))
    bytes_total.labels("in").inc(12345678901234567)
    bytes_total.labels("out").inc()
    registry.gauge("handfast_tunnels", "Open tunnels.").set(2.5)
    assert registry.render() == (
        "# HELP handfast_bytes_total Bytes carried.\n"
        "# TYPE handfast_bytes_total counter\n"
        'handfast_bytes_total{direction="in"} 12345678901234567\n'
        'handfast_bytes_total{direction="out"} 1\n'
        "# HELP handfast_tunnels Open tunnels.\n"
        "# TYPE handfast_tunnels gauge\n"
        "handfast_tunnels 2.5\n"
    )


def test_labels_and_help_are_escaped() -> None:
    registry = Registry()
    registry.counter("a_total", "one\\two\nthree", ("x",)).labels('q"b\\n\n').inc()
    assert r"# HELP a_total one\\two\nthree" in registry.render()
    assert r'a_total{x="q\"b\\n\n"} 1' in registry.render()


def test_a_value_is_looked_up_once_and_counted_afterwards() -> None:
    counter = Registry().counter("a_total", "A.", ("x",))
    value = counter.labels("1")
    value.inc()
    value.inc(2)
    assert counter.labels("1").value == 3


def test_a_gauge_may_be_asked_at_each_scrape() -> None:
    registry = Registry()
    registry.gauge("g", "G.").set_function([1.0, 7.0].pop)
    assert "g 7\n" in registry.render()
    assert "g 1\n" in registry.render()


def test_special_numbers_have_prometheus_spelling() -> None:
    registry = Registry()
    gauge = registry.gauge("g", "G.", ("x",))
    for text in ("inf", "-inf", "nan"):
        gauge.labels(text).set(float(text))
    assert 'g{x="inf"} +Inf\n' in registry.render()
    assert 'g{x="-inf"} -Inf\n' in registry.render()
    assert 'g{x="nan"} NaN\n' in registry.render()


def test_a_family_is_bounded_and_folds_the_rest_into_one() -> None:
    counter = Registry().counter("a_total", "A.", ("peer",))
    for number in range(MAX_SERIES + 500):
        counter.labels(str(number)).inc()
    assert counter.labels("other").value == 500
    assert counter.render().count("\n") == MAX_SERIES + 3


def test_one_name_has_one_declaration() -> None:
    registry = Registry()
    assert registry.counter("a_total", "A.", ("x",)) is registry.counter("a_total", "A.", ("x",))
    with pytest.raises(ValueError, match="already declared as a counter"):
        registry.gauge("a_total", "A.", ("x",))
    with pytest.raises(ValueError, match="already declared"):
        registry.counter("a_total", "A.", ("y",))


def test_a_wrong_number_of_labels_is_a_mistake_of_ours() -> None:
    counter = Registry().counter("a_total", "A.", ("x",))
    with pytest.raises(ValueError, match="got 2 values"):
        counter.labels("1", "2")


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b"])
def test_a_name_that_prometheus_refuses_is_refused_here(name: str) -> None:
    with pytest.raises(ValueError, match="no metric name"):
        Registry().counter(name, "A.")


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count() -> None:
    registry = Registry()
    histogram = registry.histogram("a_seconds", "A.", ("path",), (0.1, 1.0))
    for took in (0.05, 0.1, 0.5, 7.0):
        histogram.labels("x").observe(took)
    assert registry.render() == (
        "# HELP a_seconds A.\n"
        "# TYPE a_seconds histogram\n"
        'a_seconds_bucket{path="x",le="0.1"} 2\n'
        'a_seconds_bucket{path="x",le="1"} 3\n'
        'a_seconds_bucket{path="x",le="+Inf"} 4\n'
        'a_seconds_sum{path="x"} 7.65\n'
        'a_seconds_count{path="x"} 4\n'
    )


def test_what_somebody_else_counts_is_asked_for_at_each_scrape() -> None:
    registry = Registry()
    registry.counter("a_total", "A.").set_function([7.0, 3.0].pop)
    assert "a_total 3\n" in registry.render()
    assert "a_total 7\n" in registry.render()
