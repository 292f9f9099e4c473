"""What the site puller relies on: the same for every backend. What each prints stands in conftest.py."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.backends.base import JobState
from glidepost.backends.registry import BACKENDS, create
from glidepost.schema.errors import ConfigError

GARBAGE = [
    "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    "<html><body>503 Service Unavailable</body></html>\n",
    '{"jobs": []}\n',
    "CLUSTER: north\n",
    "Welcome to login01!\n",
    "\x00\x01\x02",
    "None\n",
]
EVERYWHERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_every_backend_that_a_site_may_configure_exists():
    text = files("glidepost.schema").joinpath("puller-config-1.schema.json").read_text(encoding="utf-8")
    allowed = json.loads(text)["definitions"]["shape"]["properties"]["backend"]["enum"]
    assert sorted(allowed) == sorted(BACKENDS)


def test_a_backend_is_found_by_the_name_that_it_gives_itself(case, backend):
    assert type(create(backend.name, case.options)) is type(backend)


@pytest.mark.parametrize(
    ("written", "hint"), [("slrum", "did you mean slurm?"), ("cloud", f"it knows {', '.join(sorted(BACKENDS))}")]
)
def test_an_unknown_backend_is_refused_with_the_right_names(written, hint):
    with pytest.raises(ConfigError) as caught:
        create(written, {})
    assert caught.value.hint == hint


def test_what_was_printed_by_the_real_one_is_understood(case, backend, recorded):
    assert list(backend.parse_query(recorded(case.listing))) == list(case.jobs)


def test_an_array_counts_as_many_as_it_has_members(case, backend, recorded):
    counts = Counter(job.name for job in backend.parse_query(recorded(case.listing)))
    assert counts[case.ours] == sum(job.name == case.ours for job in case.jobs) > 1


def test_no_two_batch_jobs_have_the_same_id(case, backend, recorded):
    ids = [job.batch_id for job in backend.parse_query(recorded(case.listing))]
    assert len(ids) == len(set(ids))


def test_every_state_of_the_manual_has_a_meaning(case, backend):
    assert backend.states
    for word, state in backend.states.items():
        (job,) = backend.parse_query(case.line(case.ids[0], word, "gp-1"))
        assert job.state is state


@pytest.mark.parametrize("word", ["ZZ", "running_or_so", "R2", "pd"])
def test_an_unknown_state_occupies_a_place(case, backend, word):
    (job,) = backend.parse_query(case.line(case.ids[0], word, "gp-1"))
    assert job.state is JobState.UNKNOWN


@EVERYWHERE
@given(data=st.data())
def test_any_name_of_somebody_elses_batch_job_survives(case, backend, data):
    letters = st.characters(exclude_characters="\n", exclude_categories=["Cs"])
    plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
    name = data.draw(st.text(letters, max_size=40) if case.has_odd_names else plain)
    (job,) = backend.parse_query(case.line(case.ids[0], next(iter(backend.states)), name))
    assert job.name == name


def test_an_empty_queue_is_no_batch_job(case, backend):
    assert list(backend.parse_query(case.empty)) == []


@pytest.mark.parametrize("text", ["", "\n", "\n\n"])
def test_an_empty_text_is_an_answer_only_where_it_is_one(case, backend, text):
    if case.empty:
        with pytest.raises(ValueError, match=r"\S"):
            list(backend.parse_query(text))
    else:
        assert list(backend.parse_query(text)) == []


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_answer(backend, text):
    with pytest.raises(ValueError, match=r"\S"):
        list(backend.parse_query(text))


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_around_an_answer_spoils_it(case, backend, text):
    good = case.line(case.ids[0], next(iter(backend.states)), "gp-1")
    for mixed in (good + text, f"{text.rstrip()}\n{good}", good + text.rstrip() + "\n" + good):
        with pytest.raises(ValueError, match=r"\S"):
            list(backend.parse_query(mixed))


def known(job):
    """Returns what must be right even when why it waits was cut off."""
    return (job.batch_id, job.name, job.state)


def test_an_answer_that_was_cut_is_refused_or_lacks_whole_batch_jobs_only(case, backend, recorded):
    text = recorded(case.listing)
    line_ends = {position for position, letter in enumerate(text) if letter == "\n"}
    for end in range(1, len(text)):
        try:
            jobs = list(backend.parse_query(text[:end]))
        except ValueError:
            continue
        ours = [known(job) for job in jobs if job.name.startswith("gp-")]
        assert ours == [known(job) for job in case.jobs if job.name.startswith("gp-")][: len(ours)]
        # A name that holds what ends a name may look complete; ours never do.
        assert end in line_ends or end - 1 in line_ends or jobs[-1].name not in {"", case.ours}


def test_the_id_of_a_submission_is_found(case, backend, recorded):
    for name, batch_id in case.submitted.items():
        assert backend.parse_submission(recorded(name)) == batch_id


@pytest.mark.parametrize("text", ["", "\n", "0x12", "12 13", "12\n13\n", *GARBAGE])
def test_no_id_is_made_up(backend, text):
    with pytest.raises(ValueError, match=r"\S"):
        backend.parse_submission(text)


def test_the_script_goes_to_standard_input_and_nowhere_else(backend, make_request):
    script = "#!/bin/sh\nGLIDEPOST_TOKEN_FILE=/secret/path\n"
    command = backend.submission(make_request(script=script, count=3))
    assert command.stdin == script
    assert not any("secret" in word for word in command.argv)


def test_a_submission_names_its_glideins(backend, make_request):
    assert any("gp-77" in word for word in backend.submission(make_request(name="gp-77", count=3)).argv)


def test_log_files_go_where_they_are_asked_for(backend, make_request):
    assert any("/srv/logs" in word for word in backend.submission(make_request(log_folder="/srv/logs")).argv)


def test_the_same_request_gives_the_same_command(case, backend, make_request):
    again = create(backend.name, case.options)
    assert backend.submission(make_request(count=7)) == again.submission(make_request(count=7))
    assert backend.query() == again.query()


def test_commands_are_words_that_an_exec_takes(backend, case, make_request):
    for command in (backend.submission(make_request()), backend.query(), backend.removal(case.ids)):
        assert all(isinstance(word, str) and "\x00" not in word for word in command.argv)
        assert command.argv[0]


def test_a_removal_names_what_it_removes(case, backend):
    assert backend.removal(case.ids).argv[-2:] == tuple(case.ids)


@pytest.mark.parametrize("batch_ids", [[], [""], ["--me"], ["*"], ["1; rm -rf /"], ["12\n13"], [".."], ["53_4", "-u"]])
def test_a_removal_of_nothing_or_of_what_is_no_id_is_refused(backend, batch_ids):
    with pytest.raises(ValueError, match="ids"):
        backend.removal(batch_ids)


@EVERYWHERE
@given(
    asked=st.fixed_dictionaries(
        {
            "cpus": st.integers(1, 512),
            "memory_mib": st.integers(1, 1 << 25),
            "walltime_s": st.integers(1, 90 * 86400),
            "gpus": st.integers(0, 16),
        }
    )
)
def test_rounding_never_loses_anything(case, backend, make_request, asked):
    if case.granted is None:
        return  # it asks nobody
    granted = case.granted(backend.submission(make_request(**asked)))
    assert (granted.cpus, granted.gpus) == (asked["cpus"], asked["gpus"])
    assert asked["memory_mib"] <= granted.memory_mib < asked["memory_mib"] + 1024
    assert asked["walltime_s"] <= granted.walltime_s < asked["walltime_s"] + 60


@pytest.mark.parametrize("text", [*GARBAGE, ""])
def test_garbage_is_no_refusal(backend, text):
    assert backend.refusal(1, text) is None
