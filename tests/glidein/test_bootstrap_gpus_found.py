"""What a glidein makes of the GPUs that it finds: the whole script, with a program in place of condor_gpu_discovery."""

from __future__ import annotations

import pytest
from gpus import A, B, put_nvidia_smi

from glidepost.glidein import tarball

SHOW = "env >$MADE/env; cp $CONDOR_CONFIG $MADE; cp $SCRATCH/gpus.ad $MADE"
DISCOVERY = r"""#!/bin/sh
echo "$*" >$MADE/asked
env >$MADE/seen
cat <<'AD'
DetectedGPUs="GPU-a, GPU-b, GPU-c"
Common=[ Capability=8.0; DeviceName="A100 (x)"; ]
GPU_a=[ id="GPU-a"; GlobalMemoryMb=1; ]
GPU_b=[ id="GPU-b"; DeviceName="V100"; ]
GPU_c=[ id="GPU-c"; ]
AD
"""


def run(node, discovery: str = DISCOVERY, **request: str):
    """Runs a glidein whose tarball has this program."""
    program = node.folder / "condor_gpu_discovery"
    program.write_text(discovery.replace("$MADE", str(node.made)))
    program.chmod(0o755)
    node.pack(SHOW)  # (makes the condor_master)
    files = {"sbin/condor_master": node.folder / "condor_master", "libexec/condor_gpu_discovery": program}
    manifest = tarball.write(node.folder / "glidein.tar.gz", files, condor_version="25.0.1", os="any", arch="x86_64")
    return node.run(node.line(manifest), **{"FAIL_PAUSE_S": "0", **request})


def config_of(node) -> list[str]:
    return (node.made / "condor_config").read_text().splitlines()


def test_no_more_gpus_are_offered_than_were_asked_for(node):
    ended = run(node, GPUS="2")
    assert ended.outcome == "never-joined", "this condor_master just ends"
    ad = (node.made / "gpus.ad").read_text().splitlines()
    assert ad[0] == 'DetectedGPUs="GPU-a, GPU-b,"'
    assert 'Common=[ Capability=8.0; DeviceName="A100 (x)"; ]' in ad
    assert not any("GPU-c" in line for line in ad)
    assert 'GPU_NAMES = "A100 (x),V100"' in config_of(node)
    assert any("&& ((TARGET.RequestGPUs ?: 0) > 0)" in line for line in config_of(node)), (
        "of START, which has two lines"
    )


def test_fewer_gpus_than_asked_for_are_offered_as_they_are(node):
    ended = run(node, GPUS="4")
    assert "3 of 4 GPUs" in ended.output
    assert "3 GPUs for 127.0.0.1" in ended.output
    assert "GLIDEPOST_AskedGPUs = 4" in config_of(node)


def test_htcondor_looks_for_the_gpus_of_the_batch_job_alone(node):
    node.env["CUDA_VISIBLE_DEVICES"] = "GPU-a,GPU-b"
    run(
        node,
        SETUP='export LD_LIBRARY_PATH="/it\'s/lib" A=1',
        KEEP="LD_LIBRARY_PATH A CUDA_VISIBLE_DEVICES",
        GPUS="2",
        GPU_DISCOVERY="-extra -x",
    )
    assert (node.made / "asked").read_text() == "-properties -uuid -device GPU-a,GPU-b -extra -x\n"
    seen = (node.made / "seen").read_text().splitlines()
    assert "LD_LIBRARY_PATH=/it's/lib" in seen
    assert not any("VISIBLE" in line for line in seen), "an empty list is none, but is all to it"
    assert "CUDA_VISIBLE_DEVICES=GPU-a,GPU-b" in (node.made / "env").read_text().splitlines()
    (line,) = (line for line in config_of(node) if line.startswith("STARTER_JOB_ENVIRONMENT"))
    assert "CUDA" not in line


def test_the_sites_word_goes_before_the_batch_systems(node):
    node.env["CUDA_VISIBLE_DEVICES"] = "0"
    run(node, GPUS="2", ENVIRONMENT="CUDA_VISIBLE_DEVICES=GPU-b,GPU-c\nNVIDIA_VISIBLE_DEVICES=all")
    assert "-device GPU-b,GPU-c" in (node.made / "asked").read_text()


def test_a_shape_without_gpus_gets_none(node):
    node.env["CUDA_VISIBLE_DEVICES"] = "0"
    program_ran = node.made / "asked"
    manifest = node.pack("env >$MADE/env; cp $CONDOR_CONFIG $MADE")
    node.run(node.line(manifest), GPUS="0", KEEP="CUDA_VISIBLE_DEVICES", ENVIRONMENT="CUDA_VISIBLE_DEVICES=0")
    assert not program_ran.exists()
    assert "CUDA_VISIBLE_DEVICES" not in (node.made / "env").read_text()
    assert not any("MACHINE_RESOURCE_INVENTORY" in line for line in config_of(node))
    assert "ENVIRONMENT_VALUE_FOR_UnAssignedGPUs = 10000" in config_of(node)


@pytest.mark.parametrize(
    ("discovery", "why"),
    [
        ("#!/bin/sh\necho DetectedGPUs=0\n", "DetectedGPUs=0"),
        ("#!/bin/sh\necho 'Error: cuInit returned 999' >&2; exit 1\n", "ended with 1: Error: cuInit returned 999"),
    ],
)
def test_a_glidein_whose_gpus_do_not_answer_ends_with_a_word(node, discovery, why):
    node.env["ROCR_VISIBLE_DEVICES"] = "0"
    ended = run(node, discovery, GPUS="1")
    assert (ended.code, ended.outcome) == (1, "no-gpu")
    assert why in ended.detail
    assert not (node.made / "condor_config").exists()


def test_a_batch_job_without_gpus_ends_before_anything_is_downloaded(node):
    node.env["CUDA_VISIBLE_DEVICES"] = "NoDevFiles"
    ended = run(node, GPUS="1")
    assert (ended.code, ended.outcome) == (1, "no-gpu")
    assert ended.detail == "this batch job was given no GPU: CUDA_VISIBLE_DEVICES is 'NoDevFiles'"
    assert not (node.made / "asked").exists()


def test_what_nvidia_smi_tells_does_where_htcondor_finds_no_library(node):
    put_nvidia_smi(
        node,
        "nvidia-smi-550-list-4xa100.txt",
        query=f"{A}, NVIDIA A100-SXM4-40GB, 40960, 8.0\n{B}, NVIDIA A100-SXM4-40GB, 40960, 8.0\n",
    )
    node.env["CUDA_VISIBLE_DEVICES"] = "0,1"
    run(node, "#!/bin/sh\necho DetectedGPUs=0\n", GPUS="2")
    ad = (node.made / "gpus.ad").read_text().splitlines()
    assert ad[0] == f'DetectedGPUs="{A}, {B},"'
    properties = 'DeviceName="NVIDIA A100-SXM4-40GB"; GlobalMemoryMb=40960; Capability=8.0;'
    assert f'{A.replace("-", "_")}=[ id="{A}"; {properties} ]' in ad
    assert 'GPU_NAMES = "NVIDIA A100-SXM4-40GB,NVIDIA A100-SXM4-40GB"' in config_of(node)


def test_gpus_of_intel_are_described_without_htcondors_program(node):
    node.env["ZE_AFFINITY_MASK"] = "0.1,2"
    run(node, "#!/bin/sh\nexit 9\n", GPUS="2")
    ad = (node.made / "gpus.ad").read_text().splitlines()
    assert ad == ['DetectedGPUs="0.1, 2,"', 'GPU_0_1=[ id="0.1"; ]', 'GPU_2=[ id="2"; ]']
    assert any(
        line == "ENVIRONMENT_FOR_AssignedGPUs = GPU_DEVICE_ORDINAL=/OCL//  ZE_AFFINITY_MASK=/OCL//"
        for line in config_of(node)
    )


def test_a_kill_while_nvidia_smi_hangs_is_heard_at_once(node, kill_when_ready):
    folder = node.folder / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ntouch {node.made}/ready\nexec sleep 77\n")
    (folder / "nvidia-smi").chmod(0o755)
    node.env["PATH"] = f"{folder}:/usr/bin:/bin"
    process = node.start(node.script(node.line(node.pack(SHOW)), {"GPUS": "1"}))
    kill_when_ready(node, process)
    assert node.end(process, 60).outcome == "killed"
