from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from glidepost.backends.base import BatchJob, JobState
from glidepost.schema.errors import ConfigError, StoreError
from glidepost.schema.heartbeat import Counts
from glidepost.schema.resources import Resources
from glidepost.site_puller import explain, record
from glidepost.site_puller.holding import Holding
from glidepost.site_puller.plan import ShapePlan

SIZE = Resources(1, 2048, 1000, 3600)
LINE = ShapePlan(
    "cpu",
    Holding(Counts(idle=1, running=2, held=3, unknown=4), unreported=5, missing=6),
    20,
    "max-queued",
    "14 missing",
    sizes=((SIZE, 6),),
)


def text_of(table) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(table)
    return output.getvalue()


def test_the_table_has_one_row_for_each_shape_with_all_numbers():
    head, _, row = text_of(explain.plan_table([LINE], title="north", done=False)).partition("\n")[2].partition("\n")
    assert head.split()[:10] == (
        ["shape", "queued", "running", "held", "unknown", "unreported", "missing", "wanted", "submit", "remove"]
    )
    assert row.split()[:11] == ["cpu", "1", "2", "3", "4", "5", "6", "20", "6", "0", "max-queued"]


def test_what_was_done_is_said_in_the_past():
    text = text_of(explain.plan_table([LINE], title="north", done=True))
    assert "submitted" in text
    assert "removed" in text


def test_unknown_counts_are_question_marks_and_not_zeros():
    line = ShapePlan("cpu", Holding(None, 5), 0, "queue-unknown", "the batch system could not be asked")
    assert text_of(explain.plan_table([line], title="north", done=True)).splitlines()[-1].split()[:6] == [
        "cpu",
        "?",
        "?",
        "?",
        "?",
        "5",
    ]


def test_words_of_a_batch_system_are_no_markup():
    line = ShapePlan("cpu", Holding(Counts()), 1, "submit-failed", "sbatch: [/red] Invalid [bold]partition")
    assert "[/red] Invalid [bold]partition" in text_of(explain.plan_table([line], title="north", done=True))


def test_a_sentence_says_why():
    assert explain.sentence(LINE) == (
        "cpu: 6 submitted of 20 wanted, because of max-queued: the shape's limit of queued glideins (14 missing)"
    )
    none = ShapePlan("cpu", Holding(Counts()), 0, "no-demand", "no user job is idle")
    assert explain.sentence(none).startswith("cpu: none wanted, because of no-demand")


def test_a_sentence_says_what_was_removed():
    line = ShapePlan("cpu", Holding(Counts(idle=3)), 1, "excess-removed", "2 queued", remove=("1", "2"))
    assert explain.sentence(line).startswith("cpu: 0 submitted of 1 wanted, 2 removed, because of excess-removed")


def test_glideins_in_the_queue_are_shown_with_their_shape_and_why_they_wait():
    jobs = [BatchJob("17_0", "gp-aaaaa-1", JobState.IDLE, "Priority"), BatchJob("9", "gp-bbbbb-1", JobState.RUNNING)]
    lines = text_of(explain.status_table(jobs, {"gp-aaaaa-": "cpu"})).splitlines()
    assert lines[1].split() == ["17_0", "gp-aaaaa-1", "cpu", "idle", "Priority"]
    assert lines[2].split() == ["9", "gp-bbbbb-1", "(no", "longer", "configured)", "running"]


def test_a_reason_of_another_version_is_no_error():
    assert "because of new-code: ?" in explain.sentence(ShapePlan("cpu", Holding(None), 0, "new-code", "x"))


def test_groups_say_what_fits_and_what_does_not(make_config, make_shape, make_demand, make_group):
    config = make_config(make_shape("small"), make_shape("gpu", gpus=1, memory_mib=9999))
    groups = (make_group(4), make_group(3, name="g00000002", memory_mib=5000, gpus=1, sites={"south": 3}))
    lines = text_of(explain.group_table(config, make_demand(*groups))).splitlines()
    assert "shape small" in lines[1]
    assert "fits" in lines[2]
    assert "keeps its gpus" in text_of(explain.group_table(config, make_demand(*groups))).replace("\n", " ")
    assert explain.verdict(()) == "fits"
    assert explain.verdict(("asks for 2 cpus of 1", "x")) == "no: asks for 2 cpus of 1, x"


def test_a_cycle_is_remembered_as_it_was(tmp_path, now):
    made = record.Record.of([LINE], [StoreError("store is down", hint="wait")], now + timedelta(seconds=1))
    record.save(tmp_path / "cycle.json", made)
    assert record.load(tmp_path / "cycle.json") == made
    assert made.errors == ("store is down (wait)",)


@pytest.mark.parametrize("body", [None, b"", b"{}", b"[]", b"\xff"])
def test_before_the_first_cycle_one_is_told_to_run_it(tmp_path, body):
    if body is not None:
        (tmp_path / "cycle.json").write_bytes(body)
    with pytest.raises(ConfigError) as caught:
        record.load(tmp_path / "cycle.json")
    assert "glidepost puller run" in caught.value.hint
