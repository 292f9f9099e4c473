"""Which logs of a glidein are kept, how much of them, where, and that no secret is among them."""

from __future__ import annotations

import http.server
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TOKEN_PART = "eyJhbGciOiJIUzI1NiJ9"
WRITE = "echo started >$SCRATCH/log/StartLog; echo master >$SCRATCH/log/MasterLog"
FAIL = f"{WRITE}; exit 4"
JOINED = "echo '01/01/26 00:00:00 CCBListener: registered with CCB server x' >>$SCRATCH/log/StartLog"
STAY = "trap 'kill $!; exit 0' QUIT; touch $MADE/ready; sleep 300 & wait"


@pytest.fixture
def logs(node) -> Path:
    """Where the site wants the logs; it is not there yet."""
    return node.folder / "made" / "logs"


def unpacked(logs: Path) -> dict[str, str]:
    """Returns the texts in the one file of logs, by name."""
    (file,) = logs.iterdir()
    with tarfile.open(file) as tar:
        files = [member for member in tar if member.isfile()]
        assert {member.name.split("/")[0] for member in tar} == {file.name[: -len(".tar.gz")]}
        assert sum(member.size for member in files) <= 8 * 2**20
        return {member.name.split("/")[1]: tar.extractfile(member).read().decode() for member in files}


@pytest.mark.parametrize(
    ("mode", "master", "is_kept"),
    [
        ("failed", FAIL, True),
        ("failed", f"{WRITE}; {JOINED}", False),
        ("always", f"{WRITE}; {JOINED}", True),
        ("never", FAIL, False),
        (None, FAIL, False),
    ],
)
def test_logs_are_kept_of_those_glideins_that_the_site_says(node, logs, mode, master, is_kept):
    ended = node.run_master(master, LOGS=mode, LOGS_FOLDER=str(logs))
    assert logs.exists() == is_kept
    if is_kept:
        assert [file.name for file in logs.iterdir()] == [f"{ended.records[0]['glidein']}.tar.gz"]
        assert "started" in unpacked(logs)["StartLog"]
        (file,) = logs.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600


def test_neither_the_token_nor_what_is_no_log_is_kept(node, logs):
    secret = node.folder / "secret"
    secret.write_text("a secret\n")
    hide = f"cp $SCRATCH/tokens.d/pool $SCRATCH/log/StarterLog; ln -s {secret} $SCRATCH/log/link"
    more = 'mkfifo $SCRATCH/log/pipe; mkdir $SCRATCH/log/folder; touch $SCRATCH/log/empty; echo x >"$SCRATCH/log/a b"'
    node.run_master(f"{hide}; {more}; {FAIL}", LOGS="failed", LOGS_FOLDER=str(logs))
    texts = unpacked(logs)
    assert set(texts) == {"StartLog", "MasterLog", "a b"}
    assert not any(TOKEN_PART in text for text in texts.values())


def test_of_logs_that_are_too_long_the_beginning_goes(node, logs):
    long = "head -c 5000000 /dev/zero | tr '\\0' x >$SCRATCH/log/{0}; printf '\\nthe end\\n' >>$SCRATCH/log/{0}"
    node.run_master(
        f"{long.format('StartLog')}; {long.format('StarterLog')}; echo short >$SCRATCH/log/MasterLog; exit 4",
        LOGS="always",
        LOGS_FOLDER=str(logs),
        LOGS_MAX_MIB="1",
    )
    texts = unpacked(logs)
    assert texts["MasterLog"] == "short\n"
    assert 2**20 - 10 < sum(len(text) for text in texts.values()) <= 2**20
    assert texts["StartLog"].endswith("x\nthe end\n")
    assert texts["StarterLog"].endswith("x\nthe end\n")


def test_logs_that_are_kept_while_it_runs_go_if_there_is_no_reason_to_keep_them(node, logs):
    master = f"{WRITE}; {JOINED}; trap 'exit 0' QUIT; until [ -e $MADE/enough ]; do sleep 0.1; done"
    process = node.start(
        node.script(node.line(node.pack(master)), {"LOGS": "failed", "LOGS_FOLDER": str(logs), "LOGS_EVERY_S": "1"})
    )
    end = time.monotonic() + 60
    while not (logs.exists() and list(logs.glob("*.tar.gz"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert unpacked(logs)["MasterLog"] == "master\n"
    (node.made / "enough").touch()
    assert node.end(process).outcome == "killed"
    assert list(logs.iterdir()) == []


def test_logs_that_are_kept_while_it_runs_survive_a_kill_without_warning(node, logs):
    process = node.start(
        node.script(
            node.line(node.pack(f"{WRITE}; {STAY}")), {"LOGS": "failed", "LOGS_FOLDER": str(logs), "LOGS_EVERY_S": "1"}
        )
    )
    end = time.monotonic() + 60
    while not (logs.exists() and list(logs.glob("*.tar.gz"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert unpacked(logs)["MasterLog"] == "master\n"
    # What the kill has left, and the loop that kept the logs, is ended here as the next glidein would.
    (scratch,) = node.scratch.iterdir()
    node.call(f"scratch={scratch}; remove_scratch")
    assert list(node.scratch.iterdir()) == []


def test_the_slots_say_where_the_logs_will_be(node, logs):
    ended = node.run_master("cp $CONDOR_CONFIG $MADE", LOGS="failed", LOGS_FOLDER="$PLACE/$X")
    config = (node.made / "condor_config").read_text()
    assert "GLIDEPOST_Logs" not in config, "a variable is not set here"
    node.env |= {"PLACE": str(logs), "X": 'a"$(b)'}
    (node.folder / "outcomes" / f"{ended.records[0]['glidein']}.json").unlink()
    ended = node.run_master("cp $CONDOR_CONFIG $MADE", LOGS="failed", LOGS_FOLDER="$PLACE/$X")
    config = (node.made / "condor_config").read_text()
    assert f'\nGLIDEPOST_Logs = "{logs}/a\\"$(DOLLAR)(b)/{ended.records[0]["glidein"]}.tar.gz"\n' in config
    assert ", GLIDEPOST_Logs" in config


def test_logs_that_cannot_be_kept_are_no_reason_to_end_otherwise(node):
    ended = node.run_master(FAIL, LOGS="failed", LOGS_FOLDER="/proc/nowhere")
    assert ended.outcome == "startd-failed"
    assert "the logs of this glidein (it ended with startd-failed) are not kept: " in ended.output


@pytest.mark.parametrize(
    "request_",
    [
        {"LOGS": "sometimes"},
        {"LOGS": "never", "LOGS_EVERY_S": "-1"},
        {"LOGS_MAX_MIB": "0"},
        {"LOGS_FOLDER": "logs"},
        {"LOGS_FOLDER": "/a\n/b"},
        {"LOG_FORM": "form"},
        {"DRAIN_FILE": "drain"},
    ],
)
def test_what_makes_no_sense_is_refused(dash_node, request_):
    ended = dash_node.run_master("touch $MADE/ran", **request_)
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert not (dash_node.made / "ran").exists()


# Upload


class Server(http.server.BaseHTTPRequestHandler):
    """Takes one form after the other, as an object store does, and remembers them."""

    forms: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).forms.append(body)
        self.send_response(204 if b"good-signature" in body else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Server.forms = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def put_form(node, server, **fields: str) -> None:
    fields = {"url": f"http://127.0.0.1:{server.server_port}/bucket", **fields}
    file = node.folder / "form"
    file.write_text("".join(f"{name}={value}\n" for name, value in fields.items()))
    node.account.give(file, 0o600)


def test_logs_are_sent_with_the_form(node, server):
    get = "https://bucket.example.org/logs/${filename}?X-Amz-Signature=1&b=2"
    put_form(node, server, key="logs/${filename}", policy='q"u\\o', signature="good-signature", get=get)
    ended = node.run_master(f"cp $CONDOR_CONFIG $MADE; {FAIL}", LOGS="failed", LOG_FORM=f"{node.folder}/form")
    name = f"{ended.records[0]['glidein']}.tar.gz"
    (form,) = Server.forms
    assert f'name="key"\r\n\r\nlogs/{name}\r\n'.encode() in form
    assert b'name="policy"\r\n\r\nq"u\\o\r\n' in form
    assert form.rindex(b'name="file"; filename="logs.tar.gz"') > form.index(b'name="signature"')
    assert b"\x1f\x8b" in form
    config = (node.made / "condor_config").read_text()
    url = get.replace("${filename}", name)
    assert f'\nGLIDEPOST_LogsUrl = "{url}"\n' in config
    assert f'\nPRESIGNED_GET_URL = "{url}"\n' in config
    assert "not kept" not in ended.output
    assert "good-signature" not in ended.output


def test_a_form_that_is_refused_or_none_harms_nobody(node, server, logs):
    put_form(node, server, key="x", signature="expired")
    ended = node.run_master(FAIL, LOGS="failed", LOG_FORM=f"{node.folder}/form", LOGS_FOLDER=str(logs))
    assert ended.outcome == "startd-failed"
    assert "are not kept: " in ended.output
    assert "403" in ended.output
    assert unpacked(logs)["MasterLog"] == "master\n"
    put_form(node, server, url="ftp://x", key="x")
    for form in ("form", "none"):
        for record in (node.folder / "outcomes").iterdir():
            record.unlink()
        ended = node.run_master(FAIL, LOGS="failed", LOG_FORM=f"{node.folder}/{form}")
        assert ended.outcome == "startd-failed"
        assert "not kept" not in ended.output
    assert len(Server.forms) == 1


def test_a_log_form_that_the_batch_system_has_brought_along_will_do(node):
    brought = node.account.make_folder(node.folder / "sandbox")
    (brought / "log-form").write_text("url=http://127.0.0.1:1/\nget=https://cdn.example.org/${filename}\nkey=x\n")
    node.account.give(brought / "log-form", 0o600)
    node.shell = ["env", "-C", str(brought), *node.shell]
    node.run_master("cp $CONDOR_CONFIG $MADE", LOGS="failed", LOG_FORM=str(node.folder / "log-form"))
    assert 'GLIDEPOST_LogsUrl = "https://cdn.example.org/' in (node.made / "condor_config").read_text()


def test_an_empty_log_form_is_none(node):
    form = node.folder / "log-form"
    form.touch()
    node.account.give(form, 0o600)
    ended = node.run_master(f"cp $CONDOR_CONFIG $MADE; {FAIL}", LOGS="failed", LOG_FORM=str(form))
    assert "LogsUrl" not in (node.made / "condor_config").read_text()
    assert "not kept" not in ended.output
