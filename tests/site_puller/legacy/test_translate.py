"""Single keys of old configurations, and what becomes of them."""

from __future__ import annotations

import pytest

HEAD = (
    "[Glidein]\nsite = North\n[Cluster]\nscheduler = {scheduler}\nrunning_cmd = x | wc -l\nsubmit_command = {command}\n"
)


@pytest.fixture
def cluster(import_text):
    """Imports keys of [Cluster], and what follows: cluster("cpu_only = True", "slurm", more="[SubmitFile]...")."""

    def run(keys: str = "", scheduler: str = "slurm", command: str = "sbatch", more: str = ""):
        return import_text(f"{HEAD.format(scheduler=scheduler, command=command)}{keys}\n{more}\n")

    return run


def test_what_serves_both_kinds_of_user_jobs_becomes_two_shapes_with_one_limit(cluster):
    tree = cluster("max_total_jobs = 50").tree
    assert [shape.get("gpus", 0) for shape in tree["shapes"].values()] == [0, 1]
    assert tree["limits"] == {"max_total": 50}


def test_several_gpus_become_several_shapes_that_do_not_take_each_others_user_jobs(cluster):
    tree = cluster("gpu_only = True\nmax_gpus_per_job = 4").tree
    sizes = {(shape["gpus"], shape["jobs"]["min_gpus"]) for shape in tree["shapes"].values()}
    assert sizes == {(1, 1), (2, 2), (4, 3)}


def test_both_kinds_excluded_let_no_user_job_in(cluster):
    with pytest.raises(Exception, match="shapes"):
        cluster("gpu_only = True\ncpu_only = True\nwhole_node = True\nwhole_node_cpus = 1")


@pytest.mark.parametrize("word", ["no", "false", "Off"])
def test_a_no_that_pyglidein_took_for_yes_is_a_no(word, cluster):
    done = cluster(f"cpu_only = True\nwhole_node = {word}")
    assert done.at("shapes.cpu.fit") is True
    assert done.said("whole_node").startswith("known bug")


def test_a_number_that_is_none_is_named_and_the_default_taken(cluster):
    done = cluster("cpu_only = True\nmax_total_jobs = lots")
    assert done.at("shapes.cpu.max_total") == 1000
    assert done.said("max_total_jobs").startswith("known bug") or "not a number" in done.said("max_total_jobs")


def test_numbers_that_puller_toml_does_not_allow_are_bounded(cluster):
    done = cluster("cpu_only = True\nmax_total_jobs = 99999999\nmax_cpus_per_job = 0\nwalltime_hrs = 0")
    shape = done.at("shapes.cpu")
    assert (shape["max_total"], shape["cpus"], shape["walltime"]) == (100000, 1, "1h")


def test_minima_are_bounds_of_user_jobs(cluster):
    done = cluster("cpu_only = True\nmin_memory_per_job = 2300\nmin_cpus_per_job = 2")
    assert done.at("shapes.cpu.jobs") == {"min_cpus": 2, "min_memory": "2300MiB", "max_gpus": 0}


def test_options_of_the_command_line_win(cluster):
    done = cluster(
        "cpu_only = True\nwalltime_hrs = 20\npartition = slow",
        command="ssh login01 sbatch -p fast -t 2:00:00 --mem=9G --nice=5 -c 6",
        more="[SubmitFile]\ncustom_header = #SBATCH -p other\n  #SBATCH -A lab",
    )
    shape = done.at("shapes.cpu")
    assert (shape["walltime"], shape["memory"], shape["cpus"]) == ("2h", "9GiB", 6)
    assert shape["command_prefix"] == ["ssh", "login01"]
    assert shape["options"] == {"partition": "fast", "account": "lab", "extra": ["--nice=5"]}


def test_a_submit_command_that_is_more_than_one_command_is_a_comment_and_unknown(cluster):
    done = cluster("cpu_only = True", command="cd /x && sbatch -p fast")
    assert "# submit_command = cd /x && sbatch -p fast" in done.text
    assert done.at("shapes.cpu.options.partition") == "fast"


@pytest.mark.parametrize(
    ("template", "options"),
    [
        ("--gres=gpu:v100:%d", {"gres": "gpu:v100:{gpus}"}),
        ("#SBATCH --gpus-per-node=%d", {"gpus_per_node": "{gpus}"}),
        ("--special=%d", {"extra": ["--special=1"]}),
    ],
)
def test_templates_of_gpu_requests(template, options, cluster):
    escaped = template.replace("%", "%%")
    done = cluster("gpu_only = True", more=f"[SubmitFile]\ngpu_submit = {escaped}")
    found = {key: done.at(f"shapes.gpu.options.{key}") for key in ("gres", "gpus_per_node", "extra")}
    assert {key: value for key, value in found.items() if value is not None} == options


def test_keys_of_cluster_that_each_partition_overlays_are_obsolete(import_text):
    done = import_text(
        "[Cluster]\nscheduler = slurm\nmax_total_jobs = 5\npartitions = a, a, GPU, gpu\n"
        "[a]\nmax_total_jobs = 6\ncpu_only = True\n[GPU]\nmax_total_jobs = 7\ngpu_only = True\n"
        "[gpu]\nmax_total_jobs = 8\ngpu_only = True\n"
    )
    assert done.said("max_total_jobs", "Cluster").startswith("obsolete")
    assert [shape.limits.max_total for shape in done.config.shapes] == [6, 7, 8]
    assert [shape.name for shape in done.config.shapes] == ["a", "gpu", "gpu-2"]


def test_a_partition_without_a_section_is_commented_out(import_text):
    done = import_text("[Cluster]\nscheduler = slurm\ncpu_only = 1\npartitions = a, b\n[a]\nwalltime_hrs = 4\n")
    assert done.report["commented_out"] == ["b"]
    assert any("no section [b]" in note["what"] for note in done.report["notes"])


def test_a_scheduler_that_is_not_known_is_guessed_and_named(cluster):
    done = cluster("cpu_only = True", scheduler="moab", command="qsub -q x")
    assert done.at("shapes.cpu.backend") == "torque"
    assert done.said("scheduler").startswith("unknown")


def test_sge_has_a_parallel_environment_of_its_own(cluster):
    options = cluster("cpu_only = True", scheduler="SGE", command="qsub").at("shapes.cpu.options")
    assert options["parallel_environment"] == "mpi"
    assert "disk_resource" not in options


@pytest.mark.parametrize(("scale", "unit"), [("0.001", "MB"), ("1", "KB"), ("0.000001", "GB"), ("x", "KB")])
def test_units_of_lsf(scale, unit, cluster):
    done = cluster("cpu_only = True", "LSF", "bsub <", f"[SubmitFile]\nmem_scale = {scale}")
    assert done.at("shapes.cpu.options.memory_unit") == unit


@pytest.mark.parametrize(
    ("style", "limits"),
    [("", ["pmem", "mem"]), ("pmem_only", ["pmem"]), ("pvmem", ["pmem", "vmem"]), ("vmem_only", ["vmem"])],
)
def test_styles_of_memory_limits(style, limits, cluster):
    done = cluster(f"cpu_only = True\n{style} = True" if style else "cpu_only = True", "PBS", "qsub")
    assert done.at("shapes.cpu.options.memory_limits") == limits


def test_lines_of_a_submit_file_that_were_not_indented_are_named(cluster):
    more = '[SubmitFile]\ncustom_middle = +A = "x"\n+B = "y"\nRequirements = z'
    done = cluster("cpu_only = True", "HTCondor", "condor_submit", more)
    assert done.at("shapes.cpu.options") == {"lines": ['+A = "x"']}
    assert done.said("+B").startswith("known bug")
    assert "Requirements = z" in done.text


def test_secrets_are_copied_nowhere(cluster):
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    more = (
        f"[SubmitFile]\ncustom_middle = export TOKEN=hunter2\n  echo {token}\ncustom_end = echo {token}\n"
        f"[CustomEnv]\nMY_PASSWORD = hunter2\nHARMLESS = {token}\n[Other]\nx = {token}"
    )
    done = cluster(f"cpu_only = True\nuser = {token}", command=f"sbatch --comment={token}", more=more)
    for text in (done.text, str(done.report), done.stderr):
        assert "eyJ" not in text
        assert "hunter2" not in text


def test_values_that_toml_must_quote_survive(cluster):
    more = '[SubmitFile]\ncustom_middle = echo "a\\tb" \'c\'\n[CustomEnv]\nX = a"b\\c\x7f#d'
    done = cluster("cpu_only = True", more=more)
    assert done.at("shapes.cpu.setup") == ["echo \"a\\tb\" 'c'"]
    assert done.at("glidein.environment.X") == 'a"b\\c\x7f#d'


def test_bugs_that_no_key_shows_are_noted(import_text):
    done = import_text("[Cluster]\nscheduler = PBS\npartitions = a, b\n[a]\ngpu_only = True\n[b]\ncpu_only = True\n")
    notes = " ".join(note["what"] for note in done.report["notes"])
    for words in ('"gpu" first', "same user jobs again", "2.4 %", "2000 MB at most"):
        assert words in notes
