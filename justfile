# `just` lists what there is. Everything runs in the project's .venv, which .ci/setup makes: no activation needed.

venv := ".venv" + (if env("TEST_PYTHON", "") == "" { "" } else { "-" + env("TEST_PYTHON") })
export PATH := justfile_directory() / venv / "bin:" + env("PATH")

# Where it is set, every process of the tests compiles every module again: a third of the fast ring.
export PYTHONDONTWRITEBYTECODE := ""

# flake8-async reads no configuration file, so its options are here. All its rules, also the optional ones, but
#   127            advises another HTTP library; the fault it means is kept out by the limits of our httpx clients, and tested
#   900            forbids async generators, which httpx asks for in its Auth; 101 and 119 check those that we have
#   910, 911       want a checkpoint in every async function, on every way through it
#   912, 913       found only scopes and loops that do have one
async_rules_off := "ASYNC127,ASYNC900,ASYNC910,ASYNC911,ASYNC912,ASYNC913"

# Functions to be started by `await nursery.start(...)`, never start_soon: 114 tells which is missing here, 113 who errs.
startable := "cancel_on_signal,maintain,run,run_controller,run_openbao,run_program,serve,serve_all,serve_cluster"

# List the recipes
@_list:
    just --list --unsorted

# Run the tests: all, those at paths (`just test tests/kube`), or those named (`just test 'lease and not process'`)
[positional-arguments]
@test *what:
    case "${1:-}" in "" | -* | tests*) pytest "$@" ;; *) pytest -k "$*" ;; esac

# Run the tests that need no real server, on all cores: two and a half minutes on two
[positional-arguments]
@fast *options:
    pytest --numprocesses auto --dist worksteal -m "not real" "$@"

# The same on another Python, in a venv of its own: `just test-python 3.13`
[positional-arguments]
@test-python version *options:
    TEST_PYTHON="$1" .ci/setup demo,dev
    shift && TEST_PYTHON={{ version }} just fast "$@"

# Simulate the program under faults, on all cores: --seeds N, --from SEED, --minutes M, --help
[positional-arguments]
@simulate *options:
    python -m tests.simulation "$@"

# Change what decides, mutant by mutant, and see whether the fast tests notice: --minutes M, --report, modules, --help
[positional-arguments]
@mutate *options:
    CI=1 python -m tests.mutation "$@"

# Measure which branches of the parts that must not fail the fast tests reach: 97 % or more of each
coverage:
    #!/usr/bin/env bash
    set -euo pipefail
    just fast --quiet --cov --cov-report=
    status=0
    for part in controller kube backends; do
      echo
      echo "$part/"
      coverage report --include="src/secrets_manager/$part/*" --skip-covered --show-missing --fail-under=97 || status=$?
    done
    exit "$status"

# Check format, lint, types, the walls between the parts, the shell scripts and the documents
check:
    ruff format --check
    ruff check
    find src tests benchmarks -name '*.py' -print0 | xargs -0 -n 24 -P 2 \
        flake8-async --disable={{ async_rules_off }} --startable-in-context-manager={{ startable }}
    mypy
    basedpyright
    lint-imports
    shellcheck .ci/* deploy/vault/approle tests/real/controlplane/require
    just --dry-run coverage 2>&1 | shellcheck -
    pytest --quiet tests/test_documents.py

# Set the format, and mend what ruff can mend safely
format:
    ruff check --fix-only --quiet
    ruff format

# Show the product at work with everything it needs, on this machine alone
[positional-arguments]
@demo *flags:
    secrets-manager demo "$@"

# Build a real control plane for the tests, of this version or the newest: nine minutes on two idle cores, once
@envtest *version:
    .ci/envtest {{ version }}

# Build the image with podman or docker, and dist/secrets-manager.cdx.json, the list of its Python packages
@image *name:
    .ci/image {{ name }}

# Write deploy/crd.yaml, and the chart's copy of it, from the program's own types
crd:
    secrets-manager crd >deploy/crd.yaml.new
    mv deploy/crd.yaml.new deploy/crd.yaml
    cp deploy/crd.yaml deploy/chart/files/crd.yaml

# Write what is made from the program's own tables: docs/flags.md, crd.md and metrics.md, deploy/monitoring, the chart's README
reference:
    python -m tests.reference

# Pin what the image installs and is built with, with hashes: deploy/requirements*.txt
lock:
    .ci/setup lock
    # Left out: kubernetes, which only the auth-provider of a kubeconfig needs (19 packages, 149 MB);
    # httpcore and anyio, on which httpx connects where it is given no transport; pycparser, with which cffi compiles.
    printf '%s\n' kubernetes httpcore anyio pycparser | just _lock pyproject.toml deploy/requirements.txt --excludes /dev/stdin
    just _requirements '["build-system"]["requires"]' | just _lock - deploy/requirements-build.txt
    just _requirements '["project"]["optional-dependencies"]["sbom"]' | just _lock - deploy/requirements-sbom.txt

_requirements where:
    @python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb")){{ where }}, sep="\n")'

_lock source target *options:
    @uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --python-platform linux {{ options }} \
        --custom-compile-command "just lock" {{ source }} --output-file {{ target }}
    @echo {{ target }}

# Build the wheel, twice with equal hashes, and the image where podman or docker is installed
@build *name:
    .ci/build {{ name }}

# Release what is committed, `just release minor`: version, CHANGELOG, chart, image tags, commit, tag; --dry-run shows it
[positional-arguments]
@release kind *options:
    .ci/release "$@"
