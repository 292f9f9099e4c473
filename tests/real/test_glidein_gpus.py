"""Real glideins with simulated GPUs: who sees which of them, and who is kept off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from glideins import Site

from glidepost.infra.demo.testbed import wait_until

UUIDS = ["GPU-a0223334-4445-5667-899a-abbccddeeff0", "GPU-b1223334-4445-5667-899a-abbccddeeff0"]
# HTCondor's own simulation of devices of AMD; what is 0 would correct the UUIDs of real ones.
AMD = "-fix-hip-guid:4 0"
FOUR_CORES = {"CPUS": "4", "GPUS": "2", "MEMORY_MIB": "4096", "IDLE_S": "20"}
UNASKED = {"CUDA_VISIBLE_DEVICES": "10000", "NVIDIA_VISIBLE_DEVICES": "none"}


def submit(site: Site, name: str, extra: str, count: int = 1) -> int:
    """Submits user jobs that write what they see to their own file, and run until they may end."""
    jobs = f"{site.folder}/jobs"
    wait = f"env >{jobs}/new.$$; mv {jobs}/new.$$ {jobs}/{name}.$$; while ! [ -e {jobs}/end ]; do sleep 0.2; done"
    return site.submit(wait, count, extra)


def seen(site: Site, name: str) -> list[Mapping[str, str]]:
    """Returns the environments of the user jobs of a name."""
    files = sorted((site.folder / "jobs").glob(f"{name}.*"))
    return [dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line) for file in files]


def of_gpus(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.endswith(("VISIBLE_DEVICES", "_MASK"))}


def let_end(site: Site, *clusters: int) -> None:
    site.pool.account.run(["touch", str(site.folder / "jobs" / "end")], cwd=site.folder / "jobs", timeout_s=60)
    assert wait_until(lambda: not any(site.states(cluster) for cluster in clusters), 60)


def slot_of(site: Site, kind: str) -> Any:
    return next(slot for slot in site.slots() if slot["SlotType"] == kind)


def test_user_jobs_of_different_sizes_share_a_glidein_and_each_sees_its_own_gpu(site: Site) -> None:
    gpu = [submit(site, "gpu", f"request_gpus = 1\nrequest_memory = {memory_mib}\n") for memory_mib in (256, 1024)]
    cpu = [submit(site, "cpu", f"request_memory = {memory_mib}\n") for memory_mib in (128, 512)]
    process = site.start(**FOUR_CORES, BACKFILL="yes", GPU_DISCOVERY="-simulate:4,2")
    for cluster in gpu + cpu:
        site.wait_for_running(cluster)
    assert wait_until(lambda: len(seen(site, "gpu")) == len(seen(site, "cpu")) == 2, 60)
    assert wait_until(lambda: sum(slot["SlotType"] == "Dynamic" for slot in site.slots()) == 4, 60)
    slots = site.slots()
    sizes = sorted((slot["GPUs"], slot["Memory"]) for slot in slots if slot["SlotType"] == "Dynamic")
    assert sizes == [(0, 128), (0, 512), (1, 256), (1, 1024)]
    whole = slot_of(site, "Partitionable")
    assert (whole["GPU_NAMES"], whole["GLIDEPOST_Backfill"]) == ("A100-SXM4-40GB,A100-SXM4-40GB", True)
    assert (whole["GPUs_Capability"], whole["GPUs_GlobalMemoryMb"]) == (8.0, 47661)
    let_end(site, *gpu, *cpu)
    assert sorted(environment["CUDA_VISIBLE_DEVICES"] for environment in seen(site, "gpu")) == UUIDS
    for environment in seen(site, "gpu"):
        assert environment["NVIDIA_VISIBLE_DEVICES"] == environment["CUDA_VISIBLE_DEVICES"]
    assert [of_gpus(environment) for environment in seen(site, "cpu")] == [UNASKED] * 2
    assert site.end(process)["outcome"] == "idle-shutdown"


def test_backfill_leaves_a_core_to_each_gpu(site: Site) -> None:
    cpu = submit(site, "cpu", "", 4)
    process = site.start(**FOUR_CORES, BACKFILL="yes", GPU_DISCOVERY="-simulate:4,2")
    site.wait_for_running(cpu, 2)
    gpu = submit(site, "gpu", "request_gpus = 1\n", 2)
    site.wait_for_running(gpu, 2)
    assert sorted(site.states(cpu)) == [1, 1, 2, 2]
    assert wait_until(lambda: len(seen(site, "gpu")) == 2, 60)
    site.pool.run(["condor_rm", str(cpu)])
    let_end(site, gpu)
    assert site.end(process)["outcome"] == "idle-shutdown"


def test_without_backfill_user_jobs_that_ask_for_no_gpu_stay_idle(site: Site) -> None:
    cpu = submit(site, "cpu", "", 2)
    gpu = submit(site, "gpu", "request_gpus = 1\n", 2)
    process = site.start(**{**FOUR_CORES, "IDLE_S": "5"}, GPU_DISCOVERY="-simulate:4,2")
    site.wait_for_running(gpu, 2)
    assert wait_until(lambda: len(seen(site, "gpu")) == 2, 60)
    assert site.states(cpu) == [1, 1]
    let_end(site, gpu)
    record = site.end(process)
    assert record["outcome"] == "idle-shutdown"
    assert "2 user jobs started" in record["detail"]
    assert site.states(cpu) == [1, 1]


def test_only_the_gpus_of_the_batch_job_are_offered(site: Site) -> None:
    """Four are in the node."""
    site.env["CUDA_VISIBLE_DEVICES"] = "1,2"
    gpu = submit(site, "gpu", "request_gpus = 1\n", 3)
    process = site.start(**FOUR_CORES, GPU_DISCOVERY="-simulate:4,4")
    site.wait_for_running(gpu, 2)
    assert slot_of(site, "Partitionable")["TotalSlotGPUs"] == 2
    assert wait_until(lambda: len(seen(site, "gpu")) == 2, 60)
    assert sorted(environment["CUDA_VISIBLE_DEVICES"][:12] for environment in seen(site, "gpu")) == [
        "GPU-b1223334",
        "GPU-c2223334",
    ]
    let_end(site, gpu)
    site.end(process)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (5, "", "MIG-GPU-a0223334-4445-5667-899a-abbccddeeff0/0/0"),
        (5, "MIG-GPU-a0223334-4445-5667-899a-abbccddeeff0/1/0", "MIG-GPU-a0223334-4445-5667-899a-abbccddeeff0/1/0"),
        (6, "MIG-a0223303", "MIG-a0223303-4445-5667-899a-abbccddeeff0"),
    ],
)
def test_a_slice_of_a_gpu_is_given_to_a_user_job(site: Site, kind: int, given: str, expected: str) -> None:
    if given:
        site.env["CUDA_VISIBLE_DEVICES"] = given
    gpu = submit(site, "gpu", "request_gpus = 1\n")
    process = site.start(GPUS="1", GPU_DISCOVERY=f"-simulate:{kind},1", IDLE_S="20")
    site.wait_for_running(gpu)
    assert slot_of(site, "Partitionable")["TotalSlotGPUs"] == 1, "of a GPU that is cut into more"
    let_end(site, gpu)
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in seen(site, "gpu")] == [expected]
    site.end(process)


def test_user_jobs_see_their_own_gpu_of_amd(site: Site) -> None:
    site.env["ROCR_VISIBLE_DEVICES"] = "1,3"
    gpu = submit(site, "gpu", "request_gpus = 1\n", 2)
    cpu = submit(site, "cpu", "")
    process = site.start(**FOUR_CORES, BACKFILL="yes", GPU_DISCOVERY=AMD)
    site.wait_for_running(gpu, 2)
    site.wait_for_running(cpu)
    assert slot_of(site, "Partitionable")["GPUs_DeviceName"] == "AMD Instinct MI300A"
    assert wait_until(lambda: (len(seen(site, "gpu")), len(seen(site, "cpu"))) == (2, 1), 60)
    let_end(site, gpu, cpu)
    found = sorted(seen(site, "gpu"), key=lambda environment: environment["ROCR_VISIBLE_DEVICES"])
    assert [environment["ROCR_VISIBLE_DEVICES"] for environment in found] == ["1", "3"]
    # (AMD's library would look for CUDA's among those that the other leaves)
    assert not any("CUDA_VISIBLE_DEVICES" in environment for environment in found), [of_gpus(item) for item in found]
    assert [environment["ROCR_VISIBLE_DEVICES"] for environment in seen(site, "cpu")] == ["10000"]
    site.end(process)


def test_user_jobs_see_their_own_tile_of_intel(site: Site) -> None:
    site.env["ZE_AFFINITY_MASK"] = "0.1,2"
    gpu = submit(site, "gpu", "request_gpus = 1\n", 2)
    cpu = submit(site, "cpu", "")
    process = site.start(**FOUR_CORES, BACKFILL="yes")
    site.wait_for_running(gpu, 2)
    site.wait_for_running(cpu)
    assert wait_until(lambda: (len(seen(site, "gpu")), len(seen(site, "cpu"))) == (2, 1), 60)
    let_end(site, gpu, cpu)
    assert sorted(environment["ZE_AFFINITY_MASK"] for environment in seen(site, "gpu")) == ["0.1", "2"]
    assert [environment["ZE_AFFINITY_MASK"] for environment in seen(site, "cpu")] == ["10000"]
    site.end(process)


def test_a_glidein_whose_node_has_no_gpu_ends_with_a_word(site: Site) -> None:
    site.env["CUDA_VISIBLE_DEVICES"] = "0"
    gpu = submit(site, "gpu", "request_gpus = 1\n")
    record = site.end(site.start(GPUS="1", FAIL_PAUSE_S="0"))
    assert (record["code"], record["outcome"]) == (1, "no-gpu"), "unless there is a GPU in this machine"
    assert site.states(gpu) == [1]
