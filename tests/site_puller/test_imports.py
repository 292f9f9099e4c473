"""A site installs neither the cloud's libraries nor HTCondor, and cron starts the command every few minutes."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What the extras of pyproject.toml add, and what those bring along.
NOT_AT_A_SITE = {"boto3", "botocore", "s3transfer", "htcondor", "htcondor2", "classad", "classad2", "jinja2"}
OF_TESTS = {"hypothesis", "moto", "pytest", "_pytest", "unittest"}
# Each takes as long to load as all of ours together, or longer.
HEAVY = {"asyncio", "concurrent", "cryptography", "multiprocessing", "numpy", "pkg_resources", "pydoc", "pygments"}
HEAVY |= {"setuptools", "sqlite3", "xml", "yaml"}

PACKAGES = ("glidepost.site_puller", "glidepost.backends", "glidepost.schema")

VERB = """
import sys
from glidepost.schema.command import main
try:
    main()
finally:
    print("modules:", *sys.modules)
"""
EVERY_MODULE = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
print("modules:", *sys.modules)
"""


def loaded(script: str, *argv: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True)
    return set(done.stdout.partition("modules:")[2].split())


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("verb", ["run", "plan", "why", "check"])
def test_a_verb_of_the_puller_loads_nothing_that_a_site_does_not_have(verb):
    modules = loaded(VERB, "puller", verb, "--help")
    assert "glidepost.site_puller.cycle" in modules
    assert not tops(modules) & (NOT_AT_A_SITE | OF_TESTS)


def test_no_module_of_the_site_side_needs_what_a_site_does_not_have():
    modules = loaded(EVERY_MODULE, *PACKAGES)
    assert {"glidepost.site_puller.cli", "glidepost.backends.slurm", "glidepost.schema.command"} <= modules
    assert not tops(modules) & (NOT_AT_A_SITE | OF_TESTS)


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_cycle_loads_nothing_heavy_that_it_does_not_use(verb):
    assert not tops(loaded(VERB, "puller", verb, "--help")) & HEAVY


def test_a_cycle_loads_nothing_of_the_other_nouns_and_of_the_verbs_that_set_a_site_up():
    modules = loaded(VERB, "puller", "run", "--help")
    others = ("glidepost.publisher", "glidepost.infra", "glidepost.glidein")
    others += ("glidepost.site_puller.legacy", "glidepost.site_puller.setup")
    assert not {name for name in modules if name.startswith(others)}
