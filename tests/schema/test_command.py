import subprocess
import sys

RUN = "from glidepost.schema.command import main; main()"


def glidepost(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{before}\n{RUN}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_noun_and_imports_none_of_them():
    spy = "import atexit, sys; atexit.register(lambda: print('boto3' in sys.modules, 'requests' in sys.modules))"
    done = glidepost("--help", before=spy)
    assert done.stdout.endswith("False False\n")
    for noun in ("publisher", "puller", "glidein", "infra", "keys", "demo"):
        assert f"\n  {noun} " in done.stdout


def test_a_site_without_the_publishers_libraries_is_told_how_to_get_them():
    done = glidepost("publisher", "run", before="import sys; sys.modules['boto3'] = None")
    assert done.returncode == 2
    assert "error: glidepost publisher needs boto3, which is not installed" in done.stderr
    assert "hint:  in a clone: pip install '.[publisher]'" in done.stderr


def test_a_cycle_of_a_site_loads_no_cloud_library():
    spy = "import atexit, sys; atexit.register(lambda: print('boto3' in sys.modules, 'htcondor2' in sys.modules))"
    assert glidepost("puller", "run", "--help", before=spy).stdout.endswith("False False\n")


def test_a_word_that_is_no_command_ends_with_2():
    assert glidepost("pullre").returncode == 2


def test_a_disk_that_cannot_be_written_is_an_error_and_not_a_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    done = glidepost("keys", "generate", str(tmp_path / "file" / "below" / "key"))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
