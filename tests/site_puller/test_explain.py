from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from glidepost.schema.errors import ConfigError, StoreError
from glidepost.schema.heartbeat import Counts
from glidepost.site_puller import explain, record
from glidepost.site_puller.plan import Holding, ShapePlan

LINE = ShapePlan("cpu", Holding(Counts(idle=1, running=2, held=3, unknown=4), 5, 0), 20, 6, "max-queued", "14 missing")


def text_of(table) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(table)
    return output.getvalue()


def test_the_table_has_one_row_for_each_shape_with_all_numbers():
    head, _, row = text_of(explain.plan_table([LINE], title="north", done=False)).partition("\n")[2].partition("\n")
    assert head.split()[:8] == ["shape", "queued", "running", "held", "unknown", "unreported", "wanted", "submit"]
    assert row.split()[:9] == ["cpu", "1", "2", "3", "4", "5", "20", "6", "max-queued"]


def test_what_was_done_is_said_in_the_past():
    assert "submitted" in text_of(explain.plan_table([LINE], title="north", done=True))


def test_unknown_counts_are_question_marks_and_not_zeros():
    line = ShapePlan("cpu", Holding(None, 5), 0, 0, "queue-unknown", "the batch system could not be asked")
    assert text_of(explain.plan_table([line], title="north", done=True)).splitlines()[-1].split()[:6] == [
        "cpu",
        "?",
        "?",
        "?",
        "?",
        "5",
    ]


def test_words_of_a_batch_system_are_no_markup():
    line = ShapePlan("cpu", Holding(Counts()), 1, 0, "submit-failed", "sbatch: [/red] Invalid [bold]partition")
    assert "[/red] Invalid [bold]partition" in text_of(explain.plan_table([line], title="north", done=True))


def test_a_sentence_says_why():
    assert explain.sentence(LINE) == (
        "cpu: 6 submitted of 20 wanted, because of max-queued: the shape's limit of queued glideins (14 missing)"
    )
    none = ShapePlan("cpu", Holding(Counts()), 0, 0, "no-demand", "no user job is idle")
    assert explain.sentence(none).startswith("cpu: none wanted, because of no-demand")


def test_a_reason_of_another_version_is_no_error():
    assert "because of new-code: ?" in explain.sentence(ShapePlan("cpu", Holding(None), 0, 0, "new-code", "x"))


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
