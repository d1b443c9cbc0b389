# `make` alone lists what there is. Everything runs in .venv, which is made when it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests start our programs hundreds of times: compiled once is enough, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
STAMP := $(VENV)/.installed
# What is needed of Debian; installed when missing and when we may: to run the lab, to test, and to measure.
LAB_PACKAGES := iproute2 nftables procps util-linux
TEST_PACKAGES := $(LAB_PACKAGES) curl iptables nginx-light openssl postgresql redis-server redis-tools wrk
BENCH_PACKAGES := $(TEST_PACKAGES) haproxy libnginx-mod-stream stunnel4
BENCH := PYTHONPATH=bench $(BIN)/python -m
CHART := charts/handfast
CLUSTER_TESTS := $(BIN)/python -m pytest --platform=kubernetes --log-cli-level=INFO --log-cli-format='%(message)s'
# What depends on kube-proxy's mode and on the address families, on a second cluster that has the other ones.
DUAL_STACK_TESTS := tests/cluster/behaviour/test_data_path.py tests/cluster/behaviour/test_connections.py
CLUSTER := PYTHONPATH=tests $(BIN)/python -m cluster

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv lint format demo test test-cluster cluster-up cluster-down cluster-load images chart-lint \
  lab-chart bench bench-quick soak fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## the virtual environment, with all that development needs

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[operator,lab,dev]'
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

demo: $(STAMP) packages-LAB_PACKAGES ## see it work on this machine: no cluster, no container engine; half a minute
	@$(BIN)/handfast demo $(DEMO)

test: $(STAMP) packages-TEST_PACKAGES ## all tests but those on a real Kubernetes; the behaviour suite on the lab
	$(BIN)/python -m pytest tests --ignore=tests/cluster/kubernetes --numprocesses=2 --dist=loadfile

test-cluster: $(STAMP) ## build and start a real Kubernetes, and test on it (root, Go; or HANDFAST_KUBECONFIG)
	$(CLUSTER_TESTS) tests/cluster
	if [ -z "$$HANDFAST_KUBECONFIG" ]; then $(CLUSTER_TESTS) $(DUAL_STACK_TESTS) --cluster-variant=dual-iptables; fi

cluster-up: $(STAMP) ## start a Kubernetes that stays, and say where it is
	@$(CLUSTER) up

cluster-load: $(STAMP) ## build our images, import them there, install or upgrade the chart
	@$(CLUSTER) load

cluster-down: $(STAMP) ## end that Kubernetes; nothing of it stays but the cache
	@$(CLUSTER) down

images: $(STAMP) ## build our images into the cache
	@$(CLUSTER) images

chart-lint: $(STAMP) ## helm lint, and the chart rendered
	@$(CLUSTER) helm lint --strict $(CHART)
	@$(CLUSTER) helm template handfast $(CHART) --namespace handfast-system > /dev/null

lab-chart: $(STAMP) ## render the chart for the lab anew, after a change of the chart
	@$(BIN)/python -c 'from pathlib import Path; import sys; sys.path.insert(0, "tests"); from cluster.lab.chart import RENDERED, rendered; RENDERED.write_text(rendered())'

bench: $(STAMP) packages-BENCH_PACKAGES ## the data path beside its peers, about ten minutes on a quiet machine: table, JSON, picture (root)
	$(BENCH) handfast_bench dataplane --out bench/out/dataplane.json
	$(BENCH) handfast_bench picture --in bench/out/dataplane.json --out docs/performance.svg

bench-quick: $(STAMP) packages-BENCH_PACKAGES ## the same in two minutes: shows that it runs, and judges nothing (root)
	$(BENCH) handfast_bench dataplane --quick --out bench/out/quick.json

soak: $(STAMP) packages-LAB_PACKAGES ## mixed load for SOAK_MINUTES (10), leaves renewed every 30 s, every byte checked (root)
	$(BENCH) handfast_soak --minutes $(or $(SOAK_MINUTES),10)

fuzz: $(STAMP) ## the parsers that the network reaches, for FUZZ_MINUTES (10)
	$(BIN)/python tests/fuzz/tunnel.py --minutes $(or $(FUZZ_MINUTES),10)

clean: ## what was made in this folder; the cache of built binaries stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build tests/cluster/.logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
