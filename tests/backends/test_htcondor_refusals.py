"""What condor_submit said when it did not want a submission, and what that means."""

from __future__ import annotations

import pytest

from glidepost.backends.htcondor import HTCondorBackend


@pytest.mark.parametrize(
    ("name", "text", "is_limit", "is_size"),
    [
        ("group", "there is no accounting group nosuch at this site", False, False),
        ("too-long", "a walltime of 90000 s is more than the 86400 s of this site", False, False),
        ("too-many", "Number of submitted jobs would exceed MAX_JOBS_PER_SUBMISSION", False, True),
        ("full", "Number of submitted jobs would exceed MAX_JOBS_PER_OWNER", True, True),
        ("bad-value", "Parse error in expression: RequestCpus = many many", False, False),
        ("bad-line", "Failed to parse command file (line 24).", False, False),
        ("bad-universe", "I don't know about the 'nosuch' universe.", False, False),
        ("bad-grid", "Invalid value 'nosuch' for grid type; Must be one of: condor, batch", False, False),
        ("bad-requirements", "Parse error in expression: Requirements = ((TARGET.Cpus >)", False, False),
    ],
)
def test_a_refusal_is_one_line_of_its_own_words(recorded, name, text, is_limit, is_size):
    refused = HTCondorBackend({}).refusal(1, recorded(f"htcondor-25.14.1-submit-{name}.stderr.txt"))
    assert refused is not None
    assert refused.text.startswith(text)
    assert "\n" not in refused.text
    assert (refused.is_limit, refused.is_size) == (is_limit, is_size)


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: Can't find address of local schedd\n",
        "ERROR: Failed to connect to local queue manager\nSECMAN:2007:Failed to end classad message.\n",
        "\nERROR: Failed to commit job submission into the queue.\n",
        "WARNING: the line 'nosuch_command = 3' was unused by condor_submit. Is it a typo?\n",
        "glidepost-htcondor: cannot read /srv/token on login01: copy it there\n",
    ],
)
def test_a_failure_that_may_pass_is_no_refusal(said):
    assert HTCondorBackend({}).refusal(1, said) is None


def test_a_schedd_that_nobody_knows_may_be_there_again_soon(recorded):
    assert HTCondorBackend({}).refusal(1, recorded("htcondor-25.14.1-submit-unknown-schedd.stderr.txt")) is None
