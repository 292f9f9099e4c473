"""Whatever the commands of a batch system print: batch jobs, ids and limits, or a ValueError, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from all_cases import all_cases
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from mutations import texts

from glidepost.backends.base import BatchJob, JobState, QueueLimits, Refusal
from glidepost.backends.registry import BACKENDS, create

RECORDED = Path(__file__).parents[1] / "recorded"
CASES = all_cases()
# Recorded files begin with the product's name; LSF's backend also reads what openlava prints.
PRODUCTS = {"lsf": ("lsf", "openlava")}


def recorded(backend: str, *, errors: bool) -> list[str]:
    names = PRODUCTS.get(backend, (backend,))
    files = sorted(file for name in names for file in RECORDED.glob(f"{name}-*.txt"))
    return [file.read_text(encoding="utf-8") for file in files if (".stderr." in file.name) is errors] or [""]


@pytest.mark.parametrize("name", BACKENDS)
def test_there_are_examples_for_each_batch_system(name):
    assert len(recorded(name, errors=False)) >= 2


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@fuzz
def test_a_listing_is_one_or_none(name, data):
    backend = create(name, CASES[name].options)
    lines = [CASES[name].line(batch_id, state, "gp-1a2b3c") for batch_id in CASES[name].ids for state in backend.states]
    text = data.draw(texts([*recorded(name, errors=False), *lines]))
    with suppress(ValueError):
        jobs = list(backend.parse_query(text))
        assert all(isinstance(job, BatchJob) and isinstance(job.state, JobState) for job in jobs)
        assert all(isinstance(job.batch_id, str) and isinstance(job.name, str) for job in jobs)
        if jobs:
            assert backend.removal([job.batch_id for job in jobs]).argv


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@fuzz
def test_an_answer_to_a_submission_holds_an_id_or_none(name, data):
    backend = create(name, CASES[name].options)
    text = data.draw(texts(recorded(name, errors=False)))
    with suppress(ValueError):
        batch_id = backend.parse_submission(text)
        assert batch_id.strip() == batch_id != ""


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@fuzz
def test_limits_are_some_or_none(name, data):
    backend = create(name, CASES[name].options)
    text = data.draw(texts(recorded(name, errors=False)))
    with suppress(ValueError):
        assert all(isinstance(limits, QueueLimits) for limits in backend.parse_limits(text))


@pytest.mark.parametrize("name", CASES)
@given(data=st.data(), exit_code=st.integers(-64, 255))
@fuzz
def test_a_refusal_is_one_or_none(name, data, exit_code):
    backend = create(name, CASES[name].options)
    text = data.draw(texts(recorded(name, errors=True)))
    found = backend.refusal(exit_code, text)
    assert found is None or (isinstance(found, Refusal) and "\n" not in found.text)
