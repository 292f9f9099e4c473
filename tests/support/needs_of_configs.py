"""The points of needs 1 to 30, which sites wrote into pyglidein's configurations."""

from __future__ import annotations

from needs import Point

WALL = frozenset({"walltime_s"})
GPUS = frozenset({"gpus"})

OF_CONFIGS: dict[int, Point] = {
    1: Point(
        has=("-A\nlab42", "qos=open", "nodes=1:ppn=2", "pmem=9000mb", "GPUS=1", "SCRATCH=/tmp/gl"),
        lacks=("vmem", ",mem=", "gl_accel", "serial"),
        limits={"accel.max_running": 90, "accel.max_queued": 40, "accel.max_total": 130},
    ),
    2: Point(
        has=(
            "-q\nbig",
            "-q\naccel2",
            "-q\naccel6",
            "mem=8192mb",
            "mem=64000mb",
            ". /soft/glideins/which_gpus.sh",
            "GPUS=6",
        ),
        lacks=(":gpus=", "pmem", "vmem"),
        limits={"big.max_cpus": 4000, "big.max_running": 1000, "accel2.max_total": 1, "accel6.max_cpus": 48},
        unasked=GPUS,
    ),
    3: Point(
        has=("-A\nabc-123-de", "pmem=2600mb", "ngpus=2", "mem=15000mb", "SCRATCH=$LSCRATCH"),
        lacks=("showq",),
        limits={"reco.max_total": 800, "smallgpu.max_total": 90, "largegpu.max_total": 90},
    ),
    4: Point(
        has=("SCRATCH=/home/op/scratch\n", "pmem=2000mb"),
        lacks=("PBS_JOBID", "showq"),
        limits={"cpu.max_total": 2800, "cpu.max_queued": 2800},
    ),
    5: Point(
        has=("-q\ngpu", "nodes=1:ppn=4:gpus=1", "nodes=1:ppn=12:gpus=3", "SCRATCH=/global/scratch/$USER/gl\n"),
        limits={"site.max_total": 900, "site.max_queued": 80},
    ),
    6: Point(
        has=("nodes=1:ppn=8:four", "pmem=7250mb", "vmem=58000mb", "-q\nlong", "walltime=172800", "model=four"),
        limits={"cpu.max_total": 190},
    ),
    7: Point(
        has=("nodes=1:ppn=4:plain", "pmem=3250mb", "vmem=13000mb", "-q\nmed", "walltime=28800"),
        limits={"cpu.max_total": 250},
    ),
    8: Point(has=("vmem=15000mb", "-M\nadmin@example.org", "-m\na", "walltime=172800"), lacks=("pmem",)),
    9: Point(has=("vmem=15000mb", "-M\nadmin@example.org", "-m\na", "walltime=14400"), lacks=("pmem", ",mem=")),
    10: Point(
        has=("-a\nopenmp", "SCRATCH=/lustre/glidein/scratch\n", "-M\n4000\n", "-W\n840\n"),
        lacks=("LSB_", "4096000"),
        limits={"cpu.max_total": 4, "cpu.max_queued": 2, "cpu.max_per_cycle": 2},
    ),
    11: Point(
        has=("-q\ngpu\n", "module load cuda\nexport CUDA_VISIBLE_DEVICES=0,1", "-n\n8\n", "GPUS=2", "-M\n20000\n"),
        lacks=("-gpu\n", "num="),
        unasked=GPUS,
    ),
    12: Point(
        has=("-a\ngpu\n", "select[pascal]", "-P\nphys9\n", "-q\ngpu\n"),
        lacks=("-gpu\n", "num="),
        limits={"site.max_total": 20, "own.max_total": 2, "gpu.max_total": 20},
        unasked=GPUS,
    ),
    13: Point(
        has=(
            "-W\n1080/k0001\n",
            "-M\n8192000\n",
            "[1-3]",
            "-q\nlonggpu\n",
            "SCRATCH=/gpfs/p1/scratch\n",
            "MEMORY_MIB=8000\n",
        ),
        lacks=("-gpu\n",),
        limits={"gpu.max_total": 16},
        unasked=GPUS,
    ),
    14: Point(has=("--partition=C8_32,C8_16,C12_24\n", "squeue\n"), lacks=("grep",), limits={"cpu.max_total": 100}),
    15: Point(
        has=(
            *("--gres=gpu:p100:2\n", "--gres=gpu:k80:4\n", "--gres=gpu:p100:1\n", "--gres=gpu:k80:1\n"),
            *("--constraint=EGRESS\n", "--partition=GPU\n", "--partition=GPU-shared\n", "SCRATCH=$LOCAL\n"),
        ),
        limits={"p100.max_queued": 10},
    ),
    16: Point(
        has=(
            "--mem-per-cpu=3800M\n",
            "--account=rpp-pi\n",
            "SETUP=module load singularity/3.5",
            "SCRATCH=$SLURM_TMPDIR\n",
            "MEMORY_MIB=15200\n",
            "SINGULARITY_BIN=/opt/singularity-3.5/bin/singularity",
        ),
        lacks=("--mem=",),
        limits={"single.max_total": 600, "half.max_queued": 200},
    ),
    17: Point(
        has=(
            "--cpus-per-task=6\n--mem=25000M\n--gres=gpu:1\n",
            "--cpus-per-task=12\n--mem=50000M\n--gres=gpu:2\n",
            "--account=wxy123\n",
            "CACHE=/proj/glidein/cache\n",
        ),
        limits={"site.max_queued": 1, "gpu-shared.max_total": 5},
    ),
    18: Point(
        has=("--exclusive\n", "--partition=med\n", "--nodes=1\n"),
        lacks=("CVMFS=", "--gres", "cnode"),
        limits={"whole.max_per_cycle": 1},
    ),
    19: Point(has=("--exclusive\n", "--partition=med\n", "--gres=gpu:2\n"), lacks=("CVMFS=",)),
    20: Point(
        has=("--partition=gpu\n", "--mem=6000M\n", "SCRATCH=/var/tmp\n"), lacks=("grep",), limits={"site.max_total": 12}
    ),
    21: Point(
        has=("--gres-flags=enforce-binding\n", "SCRATCH=$WORK\n", "CACHE=/cstor/p1/cache\n"),
        limits={"gpu.max_total": 1},
    ),
    22: Point(
        has=(
            *(
                "gpu_type=tesla_k20",
                "gpu_type=tesla_k80",
                "gpu_type=tesla_p4",
                "gpu_type=gtx_1080",
                "os=sl7",
                "-w\ne\n",
            ),
            *("h_rss=4000M", "h_rss=11000M", "-pe\nmulticore\n26\n", "tmpdir_size=", "-xml", "SCRATCH=$TMPDIR\n"),
        ),
        lacks=("-pe\nmulticore\n1\n", "afs"),
        limits={"cpu.max_queued": 100, "k20.max_total": 10},
    ),
    23: Point(
        has=("request_gpus = 4", "request_gpus = 2"),
        lacks=("request_gpus = 1", "single"),
        limits={"whole.max_total": 4, "half.max_queued": 1},
        unasked=WALL,
    ),
    24: Point(
        has=(
            "container_image = /cvmfs/images.example.org/el9",
            "SINGULARITY_BIN=/usr/local/bin/singularity\nGROUP=Alberta\n",
        ),
        lacks=("Mode",),
        unasked=WALL,
    ),
    25: Point(
        has=(
            "CUDACapability =!= undefined",
            "request_gpus = 4",
            "request_gpus = 2",
            "request_gpus = 1",
            "PROXY=http://squid.example.org:3128",
        ),
        lacks=("-pool", "-name"),
        unasked=WALL,
    ),
    26: Point(
        has=('+SingularityImage = "/cvmfs/images.example.org/el7:latest"', "ENVIRONMENT=LD_LIBRARY_PATH=/host-libs"),
        lacks=("=== cpu",),
        unasked=WALL,
    ),
    27: Point(
        has=(
            '+ProjectName = "Neutrinos"',
            "group_physics",
            '+site_blacklist = "One Two"',
            "log = /local-scratch/glidein/log",
            '(OSGVO_OS_STRING == "RHEL 6") || (OSGVO_OS_STRING == "RHEL 7")',
        ),
        unasked=WALL,
    ),
    28: Point(
        has=("START=((TARGET.RequestMemory ?: 0) <= 2300)\n",),
        limits={"config.site": "big", "config.glidein_site": "Big", "cpu.max_total": 3000},
        unasked=WALL,
    ),
    29: Point(
        has=("START=((TARGET.RequestMemory ?: 0) >= 2301)\n",),
        limits={"config.site": "big-himem", "config.glidein_site": "Big"},
        unasked=WALL,
    ),
    30: Point(
        has=("queue 3",),
        limits={"config.url": "file:///home/glidein/documents", "cpu.max_per_cycle": 150},
        unasked=WALL,
    ),
}
