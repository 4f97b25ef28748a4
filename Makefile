# Two commands do everything: `make demo` and `make test`. Both set up what they need first.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Which build of torch is right (CPU, CUDA) depends on the machine, so it stands here and not in the lock file.
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed
DEMO_DATA := $(CURDIR)/var/demo
PORT ?= 8000
CHEAT ?= skip
DATASET ?= digits
PROFILE ?= full
DIRECTIONS ?=
B ?= demo
SEEDS ?= 0,1,2
SECONDS ?= 60
# Tests wait for servers and clients that they have started: one process more than processors keeps these busy.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 4 ? cores + 1 : 4)))
# Where this is set, each of hundreds of processes would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo serve test lint openapi messages bench results docs sbom audit foreign-tools browser-tools fault-tools faults image-tools images fuzz clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    the whole story on this machine: request, mask, proofs, verdicts, certificate, audit"
	@echo "make demo PROFILE=small DIRECTIONS=1   a smaller one, with forget directions, which the proofs cover"
	@echo "make serve   web server and worker over the demonstration's data, with an officer's login"
	@echo "make test    linters, type checks, import rules and all tests"
	@echo "make openapi  write docs/openapi.yaml and docs/report.schema.json from the code"
	@echo "make messages  bring the catalogues of the console's words up to date with the code; says what lacks a translation"
	@echo "make bench B=demo    a benchmark (demo, prover, vitb16, load, log, unlearning, api, console, bundle, report); ends with one JSON line"
	@echo "make results B=class      an experiment (class, random, language) anew, with its page in docs/results/; ends with one JSON line"
	@echo "make docs    the documentation as a site, in var/docs; it needs no server and no network"
	@echo "make sbom    var/sbom.json: every package that is installed, with version, digests and licence (CycloneDX)"
	@echo "make audit   published advisories about these packages; needs the network, and says so where there is none"
	@echo "make foreign-tools   Go and its sumdb libraries, with which a test reads the log (Debian, Ubuntu; as root)"
	@echo "make browser-tools   Chromium, for the tests in a browser (Debian, Ubuntu; as root); make test does this first"
	@echo "make faults  kills, fills up, cuts off and turns back everything while the ledger works; ends with one JSON line"
	@echo "make fault-tools     PostgreSQL, Redis, RabbitMQ, Swift and gcc, which that needs (Debian, Ubuntu; as root)"
	@echo "make images  builds the images with buildah and runs the compose file with runc, from request to certificate (as root)"
	@echo "make image-tools     buildah, runc, PostgreSQL, Redis and Prometheus, which that needs (Debian, Ubuntu; as root)"
	@echo "make fuzz SECONDS=60   feeds readers of bundles, statements, notes, masks and proofs with anything; findings in var/fuzz"
	@echo "make clean   remove the virtual environment and everything under var/"

setup: $(STAMP)

$(STAMP): requirements.lock Makefile
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11 with venv, or call make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV): this downloads some hundred megabytes once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

demo: $(STAMP)
	LEDGER_DATA_DIR=$(DEMO_DATA) $(BIN)/python manage.py demo --cheat $(CHEAT) --dataset $(DATASET) --profile $(PROFILE) $(if $(DIRECTIONS),--directions)

serve: $(STAMP)
	LEDGER_DATA_DIR=$(DEMO_DATA) $(BIN)/python manage.py serve --port $(PORT)

openapi: $(STAMP)
	$(BIN)/python manage.py openapi > docs/openapi.yaml
	$(BIN)/python manage.py report schema > docs/report.schema.json

messages: $(STAMP)
	$(BIN)/python manage.py messages

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint browser-tools
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: $(STAMP)
	$(BIN)/python -m benchmarks.$(B)

results: $(STAMP)
	$(BIN)/python -m unlearning reproduce $(B) --seeds $(SEEDS)

docs: $(STAMP)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs/site docs var/docs
	@echo "the documentation: var/docs/index.html"

sbom: $(STAMP)
	@mkdir -p var
	$(BIN)/python .ci/sbom.py > var/sbom.json

audit: $(STAMP)
	$(BIN)/python .ci/audit.py

GO_PACKAGES := golang-go golang-golang-x-mod-dev
foreign-tools:
	@if command -v go >/dev/null && [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb ]; then \
		go version; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && apt-get install -y --no-install-recommends $(GO_PACKAGES); \
	else \
		echo "install Go by hand (apt-get install $(GO_PACKAGES)): without it the tests in tests/foreign are skipped"; \
	fi

browser-tools:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then \
		: ; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else \
		echo "install Chromium by hand (apt-get install chromium): without it the tests in a browser are skipped"; \
	fi

, := ,
# Debian's packages $(1), or a sentence that begins with $(2).
define debian
@if dpkg -s $(1) >/dev/null 2>&1; then \
	: ; \
elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
else \
	echo "$(2): apt-get install $(1)"; exit 1; \
fi
endef

FAULT_PACKAGES := postgresql redis-server rabbitmq-server gcc libc6-dev memcached swift-proxy swift-account swift-container swift-object
fault-tools:
	$(call debian,$(FAULT_PACKAGES),the faults need root (they mount$(,) limit and kill) and these packages)

faults: $(STAMP) fault-tools
	$(BIN)/python -m tests.faults

IMAGE_PACKAGES := buildah runc iproute2 tini postgresql redis-server prometheus
image-tools:
	$(call debian,$(IMAGE_PACKAGES),images need root and these packages)

# BUILD: more options of `buildah build`, as --build-arg BASE=debian@sha256:... or a mounted configuration of pip.
BUILD ?=
images: $(STAMP) image-tools
	for target in witness web worker-cpu worker-prover; do \
		buildah build --isolation chroot --layers $(BUILD) --target $$target -t ledger-$$target \
			-f docker/Dockerfile --ignorefile docker/Dockerfile.dockerignore . || exit 1; \
	done
	unshare --net sh -c 'ip link set lo up && exec $(BIN)/pytest -m images tests/images'

fuzz: $(STAMP)
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r tests/fuzzing/requirements.lock
	$(BIN)/python -m tests.fuzzing --seconds $(SECONDS)

clean:
	rm -rf $(VENV) var
