"""AWS Lambda on 127.0.0.1: AWS's runtime interface emulator and its client for Python, around a zip file of ours.

The emulator is a program in the wheel of aws-sam-cli; the client is awslambdaric. The function has the zip file and
what AWS's runtime has (boto3), and nothing else of this project's environment.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glidepost.infra.cloud.package import Target, build
from glidepost.infra.demo.ports import hold_free_port, is_free
from glidepost.infra.demo.processes import wait_until

SAM = "aws-sam-cli==1.170.0"
CLIENT = ("awslambdaric==4.2.2", "boto3>=1.34")
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
HANDLER = "glidepost.infra.aggregator.handler.handler"


@dataclass(frozen=True)
class Runtime:
    """The emulator's program, and a folder with the client."""

    emulator: Path
    client: Path


def get_runtime(work: Path) -> Runtime:
    """Returns them, fetched with pip if need be."""
    place = work / "lambda" / f"{SAM.replace('==', '-')}-{sys.version_info[0]}.{sys.version_info[1]}"
    if not place.exists():
        partial = place.with_name(f"partial-{os.getpid()}")
        try:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
            subprocess.run([*pip, "download", "-q", "--no-deps", "-d", str(partial / "wheel"), SAM], check=True)
            (wheel,) = (partial / "wheel").iterdir()
            with zipfile.ZipFile(wheel) as archive:
                program = archive.read(f"samcli/local/rapid/aws-lambda-rie-{MACHINE}")
            (partial / "rie").write_bytes(program)
            (partial / "rie").chmod(0o755)
            subprocess.run([*pip, "install", "-q", "--target", str(partial / "client"), *CLIENT], check=True)
            shutil.rmtree(partial / "wheel")
            partial.rename(place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Runtime(place / "rie", place / "client")


def packed(folder: Path) -> Path:
    """Returns the aggregator, packed for this host and unpacked again, as Lambda has it."""
    target = Target(MACHINE, f"{sys.version_info[0]}.{sys.version_info[1]}")
    build(target, folder / target.name)
    with zipfile.ZipFile(folder / target.name) as archive:
        archive.extractall(folder / "task")
    return folder / "task"


@dataclass(frozen=True)
class Function:
    """A function that runs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def invoke(self, event: object) -> Any:
        """Returns what the function says to an event."""
        body = json.dumps(event).encode()
        with urllib.request.urlopen(self.url, body, timeout=60) as answer:
            return json.loads(answer.read())

    def lines(self) -> list[dict[str, Any]]:
        """Returns what the function has logged as JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"event"')]

    def peak_mib(self) -> float:
        """Returns the most memory that the function's process has had."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
        lines = [line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines()]
        peaks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
        return max(peaks)


@contextmanager
def running(runtime: Runtime, task: Path, log: Path, environment: Mapping[str, str]) -> Iterator[Function]:
    """Yields a function while it runs; it listens on the loopback only."""
    ports = [hold_free_port(), hold_free_port()]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    # Not that of the virtual environment, which knows this project.
    python = Path(sys.base_prefix) / "bin" / f"python{sysconfig.get_python_version()}"
    flags = ["--runtime-interface-emulator-address", addresses[0], "--runtime-api-address", addresses[1]]
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{task}:{runtime.client}",
        "PYTHONNOUSERSITE": "1",
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    with log.open("wb") as output:
        command = [str(runtime.emulator), *flags, str(python), "-m", "awslambdaric", HANDLER]
        process = subprocess.Popen(command, env=variables, cwd=task, stdout=output, stderr=subprocess.STDOUT)
    try:
        assert wait_until(lambda: not is_free(ports[0]), 60), log.read_text()
        yield Function(f"http://{addresses[0]}/2015-03-31/functions/function/invocations", process, log)
    finally:
        process.terminate()
        process.wait(60)
