"""What the pipes of old sites counted."""

from __future__ import annotations

import pytest

from glidepost.site_puller.legacy.counting import ALL, CORES, RUNNING, read


@pytest.mark.parametrize(
    ("pipe", "kind"),
    [
        ("squeue -u $USER|grep $USER|wc -l", ALL),
        ("squeue -u $USER -t RUNNING -h | wc -l", RUNNING),
        ("squeue -h -t R -O NumCPUs -u $USER | grep -cF 1", RUNNING),
        ('squeue -u $USER |grep $USER|grep " R " | wc -l', RUNNING),
        ("squeue --states=R -u me | wc -l", RUNNING),
        ('qstat | grep "R " | grep glidein -c', RUNNING),
        ("qstat -r -u $USER|grep gl_std|wc -l", RUNNING),
        ("qstat -u $USER|grep glidein.cpu|wc -l", ALL),
        ("qstat -s r -u $USER -xml |grep '<JB_name>gl'|wc -l", RUNNING),
        ("qstat -u $USER -xml |grep '<JB_name>gl'|wc -l", ALL),
        ("showq -u $USER -p gpu -r|grep $USER|wc -l", RUNNING),
        ("showq -u $USER|grep $USER|wc -l", ALL),
        ("bjobs -w | grep Name | wc -l", ALL),
        ("bjobs -w | grep Name | grep RUN | wc -l", RUNNING),
        ("condor_q -constraint 'Owner == \"x\" && JobStatus == 2' -af ClusterId|wc -l", RUNNING),
        ("condor_q -constraint 'Owner == \"x\"' -af ClusterId|wc -l", ALL),
        ("condor_q me|grep me|wc|awk '{print $1}'", ALL),
        ("qstat -u me | awk '{TOT += $7} END { print TOT }'", CORES),
    ],
)
def test_each_pipe_is_told_apart(pipe, kind):
    assert read(pipe).kind == kind


def test_the_users_of_a_pipe_are_found():
    assert read("{ qstat -u one; qstat -u two; } | wc -l").users == ("one", "two")
    assert read("condor_q -constraint 'Owner =?= \"me\"'|wc -l").users == ("me",)
    assert read("squeue --users=me -h | wc -l").users == ("me",)


def test_pipes_that_differ_in_blanks_only_are_one_count():
    assert read("showq -u x  -r | wc -l").text == read("showq -u x -r|wc -l").text


@pytest.mark.parametrize(
    ("pipe", "fault"),
    [
        ("squeue -u x | grep -v C | wc -l", "partition C8"),
        ('squeue -h -t R | grep -cF "1"', "10, 11"),
        ('squeue -a -h -t R -u x | grep -cF "gpu:1"', "SQUEUE_FORMAT"),
        ("squeue -u x -t PENDING|grep x|grep cgpu01|wc -l", "no node yet"),
        ("qstat | grep x -c", "ends with 1"),
        ("qstat | wc -l", "counted 0"),
    ],
)
def test_faults_are_named(pipe, fault):
    assert any(fault in text for text in read(pipe).faults)


def test_a_query_without_pipe_has_no_fault():
    assert read("count_my_jobs").faults == ()
