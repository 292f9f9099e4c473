"""What the reference says is what the code does."""

import re
import runpy
from pathlib import Path

import pytest

from glidepost.schema.reasons import REASONS

DOCS = Path(__file__).parents[2] / "docs"
MAKE = runpy.run_path(str(DOCS / "make_reference.py"))


@pytest.mark.parametrize("name", MAKE["PAGES"])
def test_generated_pages_are_up_to_date(name):
    assert (DOCS / "reference" / name).read_text() == MAKE["PAGES"][name](), "run: python docs/make_reference.py"


def test_every_reason_is_documented():
    text = (DOCS / "reference" / "reasons.md").read_text()
    assert {code for code in REASONS if f"| `{code}` |" not in text} == set()


def test_every_outcome_of_a_glidein_is_documented():
    bootstrap = (DOCS.parent / "glidein" / "bootstrap" / "0-head.sh").read_text()
    outcomes = set(re.findall(r"^#   ([a-z-]+) +[0-9] ", bootstrap, re.MULTILINE))
    text = (DOCS / "reference" / "reasons.md").read_text()
    assert len(outcomes) > 8
    assert {code for code in outcomes if f"| `{code}` |" not in text} == set()


@pytest.mark.parametrize(
    "page", sorted(DOCS.parent.glob("*.md")) + sorted(DOCS.rglob("*.md")), ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
