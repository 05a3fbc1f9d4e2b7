# The whole service on one machine. `make help` lists what there is.
#
# Standard output carries only a command's result (a token, a path), everything else goes to standard error,
# so that `TOKEN=$(make token SUBJECT=ann TENANT=acme)` just works.

PORT ?= 4566
PYTHON ?= python3

VENV := .venv/bin
READY := .local/ready
EMULATOR_PACKAGES := ministack==1.5.33 aws-sam-translator cryptography boto3
NPM_PACKAGES := asl-validator@4 amplify-dynamodb-simulator@2 @xterm/headless@6

# Handed over by environment, unexpanded: an id may hold anything, a dollar sign included.
override SUBJECT := $(value SUBJECT)
override TENANT := $(value TENANT)
override SCOPES := $(value SCOPES)
export SUBJECT TENANT SCOPES PORT

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup up down reset token key seed seed-full demo screens test bench lint data-map

# `sam build` calls the build-* targets from a scratch folder, in its containers too: the place of this file is what
# tells where the project is. The rest is about a path with spaces or apostrophes in it.
PROJECT := $(shell dirname '$(subst ','\'',$(strip $(MAKEFILE_LIST)))')
space := $(subst ,, )
include $(subst $(space),\ ,$(PROJECT))/build.mk

help:
	@echo "make setup                       install everything into .venv and .local (once)"
	@echo "make up                          start the emulator and the token issuer, build, deploy; prints the env file"
	@echo "make down                        stop them"
	@echo "make reset                       empty state: a fresh stack if one was running"
	@echo "make token SUBJECT=… TENANT=…    a token of that person"
	@echo "make key TENANT=…                an API key of that tenant's backend; SCOPES=… for what it may do"
	@echo "make seed                        fill the sample application (idempotent)"
	@echo "make seed-full                   fill the sample of local/data-map-full.yaml"
	@echo "make demo                        watch a person being erased"
	@echo "make screens                     make the pictures of the demo and the command line in docs/screens"
	@echo "make data-map FILE=…             put a data map into the registry"
	@echo "make test                        all tests, on a stack of their own; ARGS=… for pytest"
	@echo "make bench                       the benchmark table; ARGS=--list names the benches"
	@echo "make lint                        style, types, template, workflow"
	@echo
	@echo "PORT=$(PORT) chooses the stack; several may stand side by side."

setup: $(READY)/project $(READY)/emulator $(READY)/npm

# Only other dependencies are a reason to install again: pyproject.toml holds much else. The stamp says which they were.
DEPENDENCIES = $(PYTHON) -c 'import json, tomllib; names = "pyproject.toml", "layers/client/pyproject.toml"; \
	projects = [tomllib.load(open(name, "rb"))["project"] for name in names]; \
	print(json.dumps([[each["dependencies"], each["optional-dependencies"]] for each in projects]))'

$(READY)/project: pyproject.toml layers/client/pyproject.toml
	@mkdir -p $(READY)
	@$(PYTHON) -c 'import tomllib' 2>/dev/null || { echo "Python 3.11 or newer is needed, and $(PYTHON) is not:" \
		"name one that is, as in: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(DEPENDENCIES) > $@.wanted
	@if test -x $(VENV)/python && cmp -s $@.wanted $@; then touch $@; else \
		echo "installing the project and its development tools" >&2; \
		{ test -x $(VENV)/python || $(PYTHON) -m venv .venv; } >&2 \
		&& $(VENV)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -e 'layers/client[cli,aws]' >&2 \
		&& cp $@.wanted $@; fi
	@rm -f $@.wanted

# The emulator has an environment of its own: the functions it runs see that environment's packages.
$(READY)/emulator:
	@mkdir -p $(READY)
	@test -x .local/emulator-venv/bin/python || $(PYTHON) -m venv .local/emulator-venv >&2
	@echo "installing the emulator" >&2
	@.local/emulator-venv/bin/python -m pip install --quiet --disable-pip-version-check $(EMULATOR_PACKAGES) >&2
	@touch $@

# The stamp says which packages they are, so that others are a reason to install again.
$(READY)/npm: Makefile
	@command -v npm >/dev/null || { echo "npm is needed, and is not here: install Node with npm" >&2; exit 1; }
	@mkdir -p $(READY) .local/npm
	@if test "$$(cat $@ 2>/dev/null)" = "$(NPM_PACKAGES)"; then touch $@; else \
		echo "installing the workflow validator, DynamoDB Local and the interpreter of terminals" >&2; \
		npm install --silent --no-audit --no-fund --prefix .local/npm $(NPM_PACKAGES) >&2 \
		&& echo "$(NPM_PACKAGES)" > $@; fi

up: setup
	@$(VENV)/python -m local up

down:
	@test ! -x $(VENV)/python || $(VENV)/python -m local down

reset: setup
	@$(VENV)/python -m local reset

token: setup
	@$(VENV)/python -m local token

key: setup
	@$(VENV)/python -m local key

seed: setup
	@$(VENV)/python -m local seed

seed-full: setup
	@$(VENV)/python -m local seed-full

demo: setup
	@$(VENV)/python -m local demo

screens: setup
	@$(VENV)/python -m local screens

data-map: setup
	@$(VENV)/python -m local data-map "$(FILE)"

test: setup
	@$(VENV)/python -m pytest --numprocesses=2 $(ARGS)

bench: setup
	@$(VENV)/python -m tests.bench $(ARGS)

lint: setup
	@$(VENV)/ruff check . >&2
	@$(VENV)/ruff format --check . >&2
	@$(VENV)/mypy >&2
	@$(VENV)/mypy -p local >&2
	@$(VENV)/cfn-lint template.yaml >&2
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 $(VENV)/sam validate --lint --template template.yaml >&2
	@.local/npm/node_modules/.bin/asl-validator --json-path functions/erasure_job/workflow.asl.json >&2
