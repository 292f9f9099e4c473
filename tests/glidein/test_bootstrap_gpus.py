"""Which GPUs a glidein takes: every spelling of the batch systems, against what nvidia-smi lists."""

from __future__ import annotations

import pytest
from gpus import A, B, C, D, put_nvidia_smi

from glidepost.schema import start

SLICES = "MIG-ffda444c-c706-57c6-98c9-67c441a0b109", "MIG-fe9bc608-60f5-5479-8cc4-1827021d27a9"
OLD_SLICES = tuple(f"MIG-GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f/{number}/0" for number in (7, 8))
# Ends the functions where the script would end the glidein.
HARNESS = 'finish_slowly() { echo "END $1: $2"; exit; }\n'


def taken(node, gpus: int, words: dict[str, str], **request: str) -> str:
    """Returns the GPUs that a glidein with these variables takes, or "END outcome: detail"."""
    (node.made / "environ").write_text("".join(f"{name}={value}\n" for name, value in words.items()))
    facts = "".join(f"GLIDEPOST_{name}='{value}'\n" for name, value in request.items())
    lines = (
        f"GLIDEPOST_GPUS={gpus} gpus={gpus} host=wn07.example.org NODE={node.folder}/node\n{facts}"
        f"condor_environment='' user_environment=''\n{HARNESS}"
        'note_batch_gpus; take_gpus; echo "TAKEN ${gpu_kind} ${gpus} ${gpu_ids}"; echo "TOLD ${condor_environment}"'
    )
    output = node.call(lines, **{"PATH": "/usr/bin:/bin", **node.env})
    said = [line for line in output.splitlines() if line.startswith(("TAKEN", "END"))]
    assert len(said) == 1, output
    return said[0].removeprefix("TAKEN ")


# What is said, how many GPUs the shape has, which are taken of a node with four.
SPELLINGS = {
    "index": ({"CUDA_VISIBLE_DEVICES": "2"}, 1, (C,)),
    "indices": ({"CUDA_VISIBLE_DEVICES": "0,3"}, 2, (A, D)),
    "indices and blanks": ({"CUDA_VISIBLE_DEVICES": " 3, 0 "}, 2, (D, A)),
    "twice the same": ({"CUDA_VISIBLE_DEVICES": "1,1"}, 2, (B,)),
    "uuid": ({"CUDA_VISIBLE_DEVICES": B}, 1, (B,)),
    "uuids": ({"CUDA_VISIBLE_DEVICES": f"{D},{B}"}, 2, (D, B)),
    "short uuids": ({"CUDA_VISIBLE_DEVICES": "GPU-838f60d9,GPU-e1"}, 2, (D, B)),
    "uuid without its beginning": ({"CUDA_VISIBLE_DEVICES": B[4:]}, 1, (B,)),
    "HTCondor's": ({"CUDA_VISIBLE_DEVICES": "CUDA0,CUDA1"}, 2, (A, B)),
    "HTCondor's own variable": ({"_CONDOR_AssignedGPUs": "GPU-838f60d9, GPU-e109d8d9"}, 2, (D, B)),
    "the end of CUDA's list": ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, 2, (A,)),
    "nothing that CUDA understands": ({"CUDA_VISIBLE_DEVICES": "0;rm -rf /tmp/x,1"}, 2, (A,)),
    "Slurm, job": ({"SLURM_JOB_GPUS": "1,2"}, 2, (B, C)),
    "Slurm, range": ({"SLURM_JOB_GPUS": "1-3"}, 3, (B, C, D)),
    "Slurm, step": ({"SLURM_STEP_GPUS": "2", "SLURM_JOB_GPUS": "1,2"}, 2, (C,)),
    "OpenCL": ({"GPU_DEVICE_ORDINAL": "1"}, 1, (B,)),
    "Grid Engine": ({"SGE_HGR_gpu": "0 1"}, 2, (A, B)),
    "Grid Engine, another complex": ({"SGE_HGR_gpu_card": "gpu3 gpu2"}, 2, (D, C)),
    "variables of other vendors": (
        {"CUDA_VISIBLE_DEVICES": "0", "ROCR_VISIBLE_DEVICES": "", "ZE_AFFINITY_MASK": "3"},
        1,
        (A,),
    ),
    "more than asked for": ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 2, (A, B)),
    "less than asked for": ({"CUDA_VISIBLE_DEVICES": "3"}, 4, (D,)),
    "one of them is not there": ({"CUDA_VISIBLE_DEVICES": "3,7"}, 2, (D,)),
    "none named, a node of its own": ({}, 4, (A, B, C, D)),
    "none named, more there": ({}, 2, (A, B)),
    "empty words of a batch system": ({"SLURM_JOB_GPUS": "", "SGE_HGR_gpu": ""}, 1, (A,)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_becomes_uuids(node, spelling):
    words, gpus, expected = SPELLINGS[spelling]
    put_nvidia_smi(node, "nvidia-smi-550-list-4xa100.txt")
    assert taken(node, gpus, words) == f"nvidia {len(expected)} {' '.join(expected)}"


@pytest.mark.parametrize(
    "words",
    [
        *({"CUDA_VISIBLE_DEVICES": word} for word in ("NoDevFiles", "10000", "none", "None", "-1", "", "void")),
        {"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_GPUS": "0,1"},
        {"CUDA_VISIBLE_DEVICES": "$(touch x)"},
        {"CUDA_VISIBLE_DEVICES": "*"},
        {"CUDA_VISIBLE_DEVICES": "1\001NUM_CPUS = 99"},
        {"_CONDOR_AssignedGPUs": "10000"},
        {"SLURM_JOB_GPUS": "5,6"},
        {"CUDA_VISIBLE_DEVICES": "GPU-ffffffff"},
        {"CUDA_VISIBLE_DEVICES": "1-99999999"},
    ],
)
def test_a_batch_job_without_gpus_ends_where_the_shape_has_some(node, words):
    put_nvidia_smi(node, "nvidia-smi-550-list-4xa100.txt")
    found = taken(node, 2, words)
    assert found.startswith("END no-gpu: "), found
    assert next(iter(words)) in found


def test_without_nvidia_smi_the_words_go_to_htcondor_as_they_are(node):
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "CUDA1,GPU-838f60d9"}) == "nvidia 2 1 GPU-838f60d9"
    assert taken(node, 2, {}) == "nvidia 2 "
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}).startswith("END no-gpu")


def test_slices_of_a_gpu_are_gpus(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-mig.txt")
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": SLICES[1]}) == f"nvidia 1 {SLICES[1]}"
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": "MIG-fe9b"}) == f"nvidia 1 {SLICES[1]}"
    assert taken(node, 1, {"SLURM_JOB_GPUS": "0:1"}) == f"nvidia 1 {SLICES[1]}"
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "0"}) == f"nvidia 2 {' '.join(SLICES)}", "all that it is cut into"
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": "1"}) == f"nvidia 1 {A}"
    assert taken(node, 3, {}) == f"nvidia 3 {' '.join(SLICES)} {A}"


def test_slices_of_an_old_driver_have_their_gpu_in_their_name(node):
    put_nvidia_smi(node, "nvidia-smi-450-list-mig.txt")
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": OLD_SLICES[1]}) == f"nvidia 1 {OLD_SLICES[1]}"
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "GPU-5c89852c"}) == f"nvidia 2 {' '.join(OLD_SLICES)}"


def test_numbers_of_the_node_are_understood_within_a_cgroup_that_hides_the_others(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-one-of-many.txt")
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "3"}) == f"nvidia 1 {D}"
    assert taken(node, 1, {"SLURM_JOB_GPUS": "3"}) == f"nvidia 1 {D}"
    assert taken(node, 2, {"SLURM_JOB_GPUS": "2,3"}).startswith("END no-gpu"), "two are named, one is there"


def test_the_narrowest_of_two_words_counts(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-4xa100.txt")
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "0,1", "SGE_HGR_gpu": "1"}) == f"nvidia 1 {B}"
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_GPUS": "2,3"}) == f"nvidia 2 {A} {B}"


def test_torque_names_gpus_in_a_file(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-4xa100.txt")
    (node.made / "gpus").write_text("wn06-gpu0\nwn07-gpu1\nwn07-gpu3\n")
    assert taken(node, 2, {"PBS_GPUFILE": f"{node.made}/gpus"}) == f"nvidia 2 {B} {D}"
    assert taken(node, 2, {"PBS_GPUFILE": f"{node.made}/gone", "CUDA_VISIBLE_DEVICES": "0"}) == f"nvidia 1 {A}"


def test_idle_gpus_are_taken_first_where_none_is_named(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-4xa100.txt", busy=f"{A}\\n{C}\\n")
    assert taken(node, 2, {}) == f"nvidia 2 {B} {D}"
    assert taken(node, 3, {}) == f"nvidia 3 {B} {D} {A}"


def test_a_lost_gpu_is_not_offered(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-lost.txt", code=15)
    assert taken(node, 2, {"CUDA_VISIBLE_DEVICES": "0,1"}) == f"nvidia 1 {A}"


def test_a_node_whose_gpus_are_gone_says_so(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-none.txt", code=6)
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": "0"}).startswith("END no-gpu: no GPU of this batch job is there")
    assert taken(node, 1, {}).startswith("END no-gpu")


def test_a_broken_driver_is_left_to_htcondor_to_find_out(node):
    put_nvidia_smi(node, "nvidia-smi-550-list-no-driver.txt", code=9)
    assert taken(node, 1, {"CUDA_VISIBLE_DEVICES": "0"}) == "nvidia 1 0"


def put_node(node, *, kfd: bool = False, intel: int = 0) -> None:
    """Makes the /dev and /sys of a node with GPUs of AMD, or of Intel beside a graphics chip of somebody else."""
    if kfd:
        (node.folder / "node" / "dev").mkdir(parents=True)
        (node.folder / "node" / "dev" / "kfd").touch()
    for number, vendor in enumerate(("0x1a03", *["0x8086"] * intel) if intel else ()):
        device = node.folder / "node" / "sys" / "class" / "drm" / f"renderD{128 + number}" / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")


EVERYTHING = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"), "1,2")


def test_what_is_in_the_node_tells_the_vendor_where_slurm_names_all(dash_node):
    assert taken(dash_node, 2, EVERYTHING) == "nvidia 2 1 2"
    put_node(dash_node, intel=4)
    assert taken(dash_node, 2, EVERYTHING) == "intel 2 1 2"
    put_node(dash_node, kfd=True)
    assert taken(dash_node, 2, EVERYTHING) == "amd 2 1 2"
    put_nvidia_smi(dash_node, "nvidia-smi-550-list-4xa100.txt")
    assert taken(dash_node, 2, EVERYTHING) == f"nvidia 2 {B} {C}"


def test_gpus_of_amd_are_counted_as_their_runtime_does(node):
    assert taken(node, 2, {"ROCR_VISIBLE_DEVICES": "4,5"}) == "amd 2 4 5"
    assert taken(node, 1, {"HIP_VISIBLE_DEVICES": "3"}) == "amd 1 3"
    assert taken(node, 2, {"ROCR_VISIBLE_DEVICES": "4,5", "HIP_VISIBLE_DEVICES": "1"}) == "amd 1 5"
    assert taken(node, 2, {"ROCR_VISIBLE_DEVICES": ""}).startswith("END no-gpu")


def test_gpus_of_intel_may_be_tiles(node):
    assert taken(node, 2, {"ZE_AFFINITY_MASK": "0,1"}) == "intel 2 0 1"
    assert taken(node, 2, {"ZE_AFFINITY_MASK": "0.1,1.0"}) == "intel 2 0.1 1.0"
    assert taken(node, 1, {"ZE_AFFINITY_MASK": "1.0,1.1"}) == "intel 1 1", "a whole one"


def test_gpus_of_intel_that_nothing_names_are_counted(node):
    put_node(node, intel=4)
    assert taken(node, 4, {}) == "intel 4 0 1 2 3"
    assert taken(node, 8, {}) == "intel 4 0 1 2 3"


def test_both_sides_ask_the_same_of_user_jobs_without_gpus(dash_node):
    for backfill, word in ((False, ""), (True, "yes")):
        (clause,) = start.clauses(gpus=2, backfill=backfill)
        lines = f'GLIDEPOST_BACKFILL={word}; keep_for_gpus; echo "${{start_conditions}}"'
        assert dash_node.call(lines, PATH="/usr/bin:/bin").strip() == f"&& ({clause})"
