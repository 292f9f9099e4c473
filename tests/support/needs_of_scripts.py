"""The points of needs 31 to 57, which sites wrote into scripts and submit files."""

from __future__ import annotations

from needs import Point

WALL = frozenset({"walltime_s"})
GPUS = frozenset({"gpus"})

OF_SCRIPTS: dict[int, Point] = {
    31: Point(
        has=(
            "--gpus-per-node=1\n",
            "--cpus-per-task=32\n",
            "--mem=121856M\n",
            "MEMORY_MIB=117760\n",
            "NETWORK_INTERFACE=172.18.*\n",
            "SETUP=module purge\n",
            "SINGULARITY_BIN=/cvmfs/",
        ),
        lacks=("--gres",),
        limits={"gpu.cost_per_hour": 1.0, "gpu.budget_per_month": 8000.0},
    ),
    32: Point(
        has=("--time=2880\n", "WALLTIME_S=172800\n", "${CUDA_VISIBLE_DEVICES:-$SLURM_JOB_GPUS}", "--gpus-per-node=1\n")
    ),
    33: Point(has=("--time=60\n", "WALLTIME_S=3600\n", "RETIRE_S=900\n", "--gpus-per-node=8\n"), lacks=("172500",)),
    34: Point(
        has=(
            "--cpus-per-task=14\n--mem=57344M\n--gpus-per-node=1\n",
            "--account=abcd-delta-gpu\n",
            "--constraint=scratch\n",
            "SCRATCH=/tmp\n",
        ),
        limits={"a100x4.cost_per_hour": 1.0},
    ),
    35: Point(
        has=("--cpus-per-task=112\n--mem=458752M\n--gpus-per-node=8\n", "--partition=gpuA100x8\n"),
        limits={"a100x8.cost_per_hour": 12.0},
    ),
    36: Point(
        has=("--cpus-per-task=56\n--mem=229376M\n--gpus-per-node=4\n", "--partition=gpuA40x4\n"),
        limits={"a40x4.cost_per_hour": 2.0},
    ),
    37: Point(
        has=(
            "--requeue\n",
            "--partition=serial_requeue\n",
            "--array=0-2\n",
            "SCRATCH=/n/scratch9/lab/prod\n",
            "CVMFS=icecube",
        ),
        lacks=("--no-requeue", "--gres"),
        limits={"cpu.max_total": 1000},
    ),
    38: Point(has=("--requeue\n", "--partition=gpu_requeue\n", "--gres=gpu:1\n"), lacks=("--no-requeue",)),
    39: Point(
        has=("--gres=gpu:nvidia_a100_1g.5gb:1\n", "--partition=gpu_mig\n", "--no-requeue\n"),
        limits={"mig.gpu_capability": "8.0", "mig.gpu_memory_mib": 4864},
    ),
    40: Point(
        has=(
            "--constraint=haswell\n",
            "--licenses=SCRATCH\n",
            "--image=docker:example/el7:latest\n",
            "--module=cvmfs\n",
            "--partition=regular\n",
        )
    ),
    41: Point(has=("--qos=shared\n", "--ntasks=1\n--cpus-per-task=4\n--mem=7808M\n"), lacks=("--partition",)),
    42: Point(
        has=("--partition=scavenger\n", "--time=240\n", "CPUS=4\nGLIDEPOST_MEMORY_MIB=3904\n"),
        lacks=("--time-min", "120000"),
    ),
    43: Point(
        has=("--partition=neutrino_gpu\n", "CACHE=/groups/ice/glidein/cache\n"),
        limits={"gpu.max_total": 9, "gpu.max_queued": 2},
    ),
    44: Point(
        has=(
            "--gres=gpu:nvidia_h100_80gb_hbm3_1g.10gb:1\n",
            "--gres=gpu:nvidia_h100_80gb_hbm3_2g.20gb:1\n",
            "--gres=gpu:nvidia_h100_80gb_hbm3_3g.40gb:1\n",
            "--time=1440\n",
            "--time=4320\n",
            "APPTAINER_BIND=/usr/lib64/libnvidia-ml.so.1",
        ),
        limits={
            "site.max_total": 7500,
            "mig1-24h.max_per_cycle": 500,
            "mig2-72h.gpu_memory_mib": 20096,
            "mig3-72h.gpu_capability": "9.0",
        },
    ),
    45: Point(
        has=(
            "--qos=shared\n",
            "--constraint=gpu\n",
            "--gpus-per-node=1\n",
            "--gpu-bind=none\n",
            "--module=cvmfs\n",
            "apptainer/1.3.3/bin/apptainer",
        ),
        lacks=("SETUP",),
        limits={"gpu.max_total": 11},
    ),
    46: Point(
        has=("--partition=ghx4\n", "--array=0-1\n"),
        lacks=("%2",),
        limits={"gh200.max_total": 4, "gh200.max_queued": 2, "gh200.max_running": 4},
    ),
    47: Point(
        has=(
            "--partition=pvc\n",
            "GPU_DISCOVERY=-opencl\n",
            "KEEP=LD_LIBRARY_PATH OCL_ICD_FILENAMES\n",
            "SETUP=module load intel\n",
            "GPUS=4\n",
            "MEMORY_MIB=120000\n",
        ),
        lacks=("--mem", "--gres", "--gpus"),
        limits={"pvc.max_queued": 2, "pvc.max_per_hour": 10},
        unasked=frozenset({"gpus", "memory_mib"}),
    ),
    48: Point(
        has=("--partition=gh\n", "ENVIRONMENT=SINGULARITY_BIN=$HOME/aarch64/bin/apptainer\n"),
        limits={"gh.arch": "aarch64"},
    ),
    49: Point(
        has=(
            "--partition=notch-shared-guest\n--account=owner-guest\n--qos=owner-guest\n",
            "--partition=kings-shared\n--account=lab\n--qos=kings-shared\n",
            "--partition=lone-freecycle\n--account=lab\n--qos=lone-freecycle\n",
            "--output=/scratch/general/glidein/state/logs/",
        ),
    ),
    50: Point(has=("--exclusive\n", "GPU_DISCOVERY=-hip\n", "--time=60\n"), lacks=("--gres", "--gpus"), unasked=GPUS),
    51: Point(
        has=(
            "ssh\n-o\nBatchMode=yes\nlogin2.example.org\nsbatch --nodes=1 ",
            "login2.example.org\nsqueue --noheader ",
            "--output=/projects/glidein/state/logs/",
        ),
        limits={"gh200.max_total": 3},
    ),
    52: Point(
        has=("128 250000 0\n", "128 256000 auto\n", "WALLTIME_S=864000\n", "IDLE_S=12000\n"),
        limits={"host.max_total": 1},
        unasked=WALL,
    ),
    53: Point(
        has=(
            '+FileSystemDomain = "none"',
            "grid_resource = condor ce.example.org ce.example.org:9619",
            "/home/glidein/state/token",
            "want_graceful_removal",
        ),
        limits={"local-pool.max_total": 12, "ce.max_total": 12},
        unasked=WALL,
    ),
    54: Point(
        has=(
            "TARGET.TotalCpus == 16",
            "TARGET.TotalCpus == 48",
            '+partition_label = "c16"',
            '+partition_label = "c48"',
            "group_pilots",
        ),
        limits={"c16.max_total": 5, "c48.max_total": 3},
        unasked=WALL,
    ),
    55: Point(
        has=(
            "CVMFS_ALIEN_CACHE=/scratch1/prod/alien\nCVMFS_QUOTA_LIMIT=-1\nCVMFS_SHARED_CACHE=no\n",
            "PROXY=http://login3.example.org:3128\n",
        ),
    ),
    56: Point(
        has=(
            'START=(GLIDEPOST_Shape != "long" || TARGET.IceProdSite == "long")\n',
            "--partition=long\n",
            "--time=10080\n",
        )
    ),
    57: Point(
        has=("nvidia-smi", "4 16000 1\nauto auto auto\n", '[ "${gpu##*, }" -ge 8000 ] || exit 1'),
        limits={"shared.max_total": 1},
        unasked=WALL,
    ),
}
