# `make` alone lists what there is. Everything runs in .venv, which is made when it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests start our programs hundreds of times: compiled once is enough, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
STAMP := $(VENV)/.installed
# What is needed of Debian; installed when missing and when we may: to run the lab, to test, and to measure.
LAB_PACKAGES := iproute2 nftables procps util-linux
TEST_PACKAGES := $(LAB_PACKAGES) curl fish iptables jq nginx-light openssl postgresql prometheus redis-server redis-tools wrk zsh
BENCH_PACKAGES := $(TEST_PACKAGES) haproxy libnginx-mod-stream stunnel4
BENCH := PYTHONPATH=bench:tests $(BIN)/python -m
CHART := charts/handfast
# Tests wait far more than they compute: four at a time keep two cores busy.
TESTS := $(BIN)/python -m pytest --durations=30 --dist=loadfile --no-loadscope-reorder
CLUSTER_TESTS := $(TESTS) --platform=kubernetes
# What depends on kube-proxy's mode and on the address families, on a second cluster that has the other ones.
DUAL_STACK_TESTS := tests/cluster/behaviour/test_data_path.py tests/cluster/behaviour/test_connections.py
CLUSTER := PYTHONPATH=tests $(BIN)/python -m cluster

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv packages lint format demo test test-cluster test-that-cluster test-cluster-slow cluster-build cluster-up cluster-down cluster-load chart-lint \
  lab-chart docs reference metrics-page first-hour policy-errors bench bench-quick bench-control soak fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## the virtual environment, with all that development needs

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[operator,lab,dev,docs]'
	touch $@

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff write what it would ask for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Programs that are servers are installed to be run by tests: none is started, whatever Debian does by default
# (invoke-rc.d(8), "policy-rc.d").
packages-%:
	@missing=$$(for name in $($*); do dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'install ok installed' || echo $$name; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" != 0 ]; then echo "please install (as root: apt-get install$$(printf ' %s' $$missing)), then run this again" >&2; exit 1; fi; \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then \
	    trap 'rm -f /usr/sbin/policy-rc.d' EXIT; printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; \
	  fi; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

packages: packages-BENCH_PACKAGES # what tests and benchmarks need of Debian

demo: $(STAMP) packages-LAB_PACKAGES ## see it work on this machine: no cluster, no container engine; half a minute
	@$(BIN)/handfast demo $(DEMO)

test: $(STAMP) packages-TEST_PACKAGES ## all tests but those on a real Kubernetes; the behaviour suite on the lab
	$(TESTS) tests --ignore=tests/cluster/kubernetes --numprocesses=4

test-cluster: $(STAMP) ## build and start a real Kubernetes, and test on it (root, Go; or HANDFAST_KUBECONFIG)
	@if [ -n "$$HANDFAST_KUBECONFIG" ]; then $(MAKE) test-that-cluster; else \
	  $(CLUSTER) run $(MAKE) test-that-cluster && \
	  $(CLUSTER) run --variant=dual-iptables $(CLUSTER_TESTS) $(DUAL_STACK_TESTS) --numprocesses=2; \
	fi

test-that-cluster: $(STAMP) # of HANDFAST_KUBECONFIG: what bears company, then what takes away what all share
	failed=0; \
	$(CLUSTER_TESTS) tests/cluster --ignore=tests/cluster/lab --numprocesses=3 -m 'not alone' || failed=1; \
	$(CLUSTER_TESTS) tests/cluster --ignore=tests/cluster/lab -m alone -v || failed=1; \
	exit $$failed

test-cluster-slow: $(STAMP) ## what waits for kubelet for many minutes: rotations, issuers, the real cert-manager (root, Go)
	$(CLUSTER_TESTS) --slow -m slow_on_kubernetes tests/cluster

cluster-up: $(STAMP) ## start a Kubernetes that stays, and say where it is
	@$(CLUSTER) up

cluster-load: $(STAMP) ## build our images, import them there, install or upgrade the chart
	@$(CLUSTER) load

cluster-down: $(STAMP) ## end that Kubernetes; nothing of it stays but the cache
	@$(CLUSTER) down

cluster-build: $(STAMP) ## build Kubernetes and our images into the cache (ten to twenty minutes, once)
	@$(CLUSTER) build

chart-lint: $(STAMP) ## helm lint, and the chart rendered, with each file of tests/chart/values
	@for values in tests/chart/values/*.yaml; do \
	  $(CLUSTER) helm lint --strict --quiet $(CHART) --values $$values \
	  && $(CLUSTER) helm template handfast $(CHART) --namespace handfast-system --values $$values > /dev/null || exit 1; \
	done

lab-chart: $(STAMP) ## render the chart anew for the lab and for tests of the chart, after a change of it
	@$(BIN)/python -c 'import sys; sys.path.insert(0, "tests"); from cluster.lab import chart; chart.write()'

docs: $(STAMP) ## the site into build/site, strictly: pages, links and anchors; links that lead outside are listed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@PYTHONPATH=tests $(BIN)/python -m pages links

reference: $(STAMP) ## write docs/fields.md, docs/names.md and docs/reasons.md anew, from the source
	@PYTHONPATH=tests $(BIN)/python -m pages write

first-hour: $(STAMP) ## write docs/first-hour.md anew, from docs/install.md typed on a real Kubernetes (root, Go)
	$(CLUSTER_TESTS) tests/cluster/kubernetes/test_first_hour.py --write

policy-errors: $(STAMP) packages-LAB_PACKAGES ## write docs/policy-errors.md anew, from what the lab says to wrong policies
	$(BIN)/python -m pytest -q tests/cluster/behaviour/test_policy_errors.py --write -k says_what

metrics-page: $(STAMP) ## write docs/metrics.md anew, from what the programs declare
	PYTHONPATH=tests $(BIN)/python -m support.metrics_page

bench: $(STAMP) packages-BENCH_PACKAGES ## the data path beside its peers, about ten minutes on a quiet machine: table, JSON, picture (root)
	$(BENCH) handfast_bench dataplane --out bench/out/dataplane.json
	$(BENCH) handfast_bench picture --in bench/out/dataplane.json --out docs/performance.svg

bench-quick: $(STAMP) packages-BENCH_PACKAGES ## both benches in two minutes: shows that they run, and judges nothing (root)
	$(BENCH) handfast_bench dataplane --quick --out bench/out/quick.json
	$(BENCH) handfast_control --quick --out bench/out/control-quick.json

bench-control: $(STAMP) ## verdicts, the push of policies (or to HANDFAST_KUBECONFIG), 10,000 leaves, the control plane's cost, 12 minutes: table, JSON
	$(BENCH) handfast_control --out bench/out/control.json

soak: $(STAMP) packages-LAB_PACKAGES ## mixed load for SOAK_MINUTES (10), leaves renewed every 30 s, every byte checked (root)
	$(BENCH) handfast_soak --minutes $(or $(SOAK_MINUTES),10)

fuzz: $(STAMP) ## the parsers that the network reaches, for FUZZ_MINUTES (10)
	$(BIN)/python tests/fuzz/tunnel.py --minutes $(or $(FUZZ_MINUTES),10)

clean: ## what was made in this folder; the cache of built binaries stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build tests/cluster/.logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
