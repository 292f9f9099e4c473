"""What the cgroups of a glidein's batch job leave it."""

from __future__ import annotations

import pytest
from taking import make_node, take

CGROUP1 = "35 31 0:32 {root} /sys/fs/cgroup/{name} rw,relatime shared:9 - cgroup cgroup rw,{name}\n"
CGROUP2 = "41 31 0:38 {root} {folder} rw,relatime shared:15 - cgroup2 cgroup2 rw,nsdelegate\n"
MIB = 1048576


@pytest.mark.parametrize(
    ("mounts", "own", "files", "taken"),
    [
        # version 2, as under Slurm and systemd: the job's folder limits, not that of the step
        (
            CGROUP2.format(root="/", folder="/sys/fs/cgroup"),
            "0::/system.slice/slurmstepd.scope/job_5/step_batch\n",
            {
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/memory.max": f"{2000 * MIB}\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/step_batch/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/cpu.max": "300000 100000\n",
            },
            "3 2000",
        ),
        (
            CGROUP2.format(root="/", folder="/sys/fs/cgroup"),
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/b/memory.max": f"{3000 * MIB}\n",
                "sys/fs/cgroup/a/b/memory.high": f"{2500 * MIB}\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            },
            "8 2500",
        ),
        # a container sees its own part as the root
        (
            CGROUP2.format(root="/", folder="/sys/fs/cgroup"),
            "0::/\n",
            {"sys/fs/cgroup/memory.max": f"{1000 * MIB}\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"},
            "1 1000",
        ),
        (
            CGROUP2.format(root="/../../job", folder="/sys/fs/cgroup"),
            "0::/../../job\n",
            {"sys/fs/cgroup/memory.max": f"{1000 * MIB}\n", "sys/fs/cgroup/cpu.max": "5000 100000\n"},
            "1 1000",
        ),
        # version 1, as under Slurm
        (
            CGROUP1.format(root="/", name="memory") + CGROUP1.format(root="/", name="cpu,cpuacct"),
            "9:cpuset:/x\n4:memory:/slurm/uid_7/job_5/step_batch\n1:cpu,cpuacct:/slurm/uid_7/job_5\n0::/\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/slurm/uid_7/job_5/memory.limit_in_bytes": f"{1500 * MIB}\n",
                "sys/fs/cgroup/memory/slurm/uid_7/job_5/step_batch/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/uid_7/job_5/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/uid_7/job_5/cpu.cfs_period_us": "100000\n",
            },
            "2 1500",
        ),
        # version 1 without limits
        (
            CGROUP1.format(root="/", name="memory") + CGROUP1.format(root="/", name="cpu"),
            "4:memory:/\n1:cpu:/\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            "8 4000",
        ),
        # a container with the path of the host, of which only its own part is mounted
        (
            CGROUP1.format(root="/docker/abc", name="memory"),
            "4:memory:/docker/abc/job\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2000 * MIB}\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{900 * MIB}\n",
            },
            "8 900",
        ),
        (
            CGROUP1.format(root="/docker/abc", name="memory"),
            "4:memory:/docker/abcdef\n",
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2000 * MIB}\n"},
            "8 2000",
        ),
        # both versions at once
        (
            CGROUP1.format(root="/", name="memory") + CGROUP2.format(root="/", folder="/sys/fs/cgroup/unified"),
            "4:memory:/a\n0::/b\n",
            {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{1200 * MIB}\n",
                "sys/fs/cgroup/unified/b/cpu.max": "400000 100000\n",
            },
            "4 1200",
        ),
        # another's cgroup is not ours; a number that no arithmetic bears is no limit
        (
            CGROUP2.format(root="/", folder="/sys/fs/cgroup"),
            "0::/mine\n",
            {
                "sys/fs/cgroup/other/memory.max": f"{100 * MIB}\n",
                "sys/fs/cgroup/mine/memory.max": "18446744073709551615\n",
                "sys/fs/cgroup/mine/cpu.max": "$(touch x) 0\n",
            },
            "8 4000",
        ),
        ("", "", {}, "8 4000"),
        ("garbage\n - cgroup2 \n", "a\n\n::\n", {}, "8 4000"),
    ],
)
def test_the_limits_of_its_cgroups_count(node, mounts, own, files, taken):
    base = "24 1 0:22 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
    seen = make_node(node.folder, {"proc/self/mountinfo": base + mounts, "proc/self/cgroup": own, **files})
    assert take(node, seen, 'echo "$cpus $memory_mib"')[-1] == taken
