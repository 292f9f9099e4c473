"""Files as Python 2's SafeConfigParser read them; the expected values are its documented and its actual behaviour."""

from __future__ import annotations

import pytest

from glidepost.schema.errors import ConfigError
from glidepost.site_puller.legacy.model import Findings, Verdict
from glidepost.site_puller.legacy.parse import parse
from glidepost.site_puller.legacy.read import translated


def parsed(text: str) -> dict[str, dict[str, str]]:
    ini = parse(text, file="old.config", findings=Findings())
    return {name: {key: entry.text for key, entry in table.items()} for name, table in ini.sections.items()}


def test_keys_keep_their_case():
    assert parsed("[a]\nKey = 1\nkey = 2\n") == {"a": {"Key": "1", "key": "2"}}


def test_a_second_section_of_a_name_goes_on_with_the_first():
    assert parsed("[a]\nx = 1\n[b]\ny = 2\n[a]\nz = 3\n") == {"a": {"x": "1", "z": "3"}, "b": {"y": "2"}}


def test_of_a_key_that_comes_twice_the_last_counts_and_the_first_is_remembered():
    ini = parse("[a]\nx = 1\nx = 2\n\nx: 3\n", file="old", findings=Findings())
    entry = ini.section("a")["x"]
    assert (entry.text, entry.line, entry.earlier) == ("3", 5, (2, 3))


def test_indented_lines_are_text_even_if_they_begin_with_a_hash():
    text = "[a]\nheader = #BSUB -J x\n    #BSUB -a openmp\n\t; more\n"
    assert parsed(text) == {"a": {"header": "#BSUB -J x\n#BSUB -a openmp\n; more"}}


def test_an_empty_line_or_a_comment_does_not_end_a_value():
    assert parsed("[a]\nx = 1\n\n# no\n  2\n") == {"a": {"x": "1\n2"}}


def test_comments_begin_at_the_first_column():
    assert parsed("# a\n; b\nREM c\nrem d = 1\n[a]\n#x = 1\nremark = 2\n") == {"a": {"remark": "2"}}


def test_a_semicolon_after_a_blank_begins_a_comment_and_a_hash_does_not():
    assert parsed("[a]\nx = 1 ; one\ny = a;b\nz = 1 # one\n") == {"a": {"x": "1", "y": "a;b", "z": "1 # one"}}


def test_a_semicolon_in_a_shell_loop_cuts_it_where_a_blank_is_before_it():
    # as Python 2 did: only the first ; is looked at
    assert parsed("[a]\nx = { qstat; qstat; } | wc ; end\n") == {"a": {"x": "{ qstat; qstat; } | wc ; end"}}


def test_a_value_that_begins_with_a_semicolon_is_a_comment_if_a_blank_is_at_its_end():
    # an oddity of Python 2: it looked at the character before the first
    assert parsed("[a]\nx = ; c\ny = ; c \n") == {"a": {"x": "; c", "y": ""}}


def test_a_colon_is_as_good_as_an_equals_sign():
    assert parsed("[a]\nx: 1\ny=http://z:80\n") == {"a": {"x": "1", "y": "http://z:80"}}


def test_two_quotes_are_nothing():
    assert parsed('[a]\nx = ""\n') == {"a": {"x": ""}}


def test_percent_signs_are_written_twice_and_names_are_replaced():
    assert parsed("[a]\nx = 50%%\nuser = me\ny = -u %(user)s -o %%j\n")["a"] == {
        "x": "50%",
        "user": "me",
        "y": "-u me -o %j",
    }


def test_defaults_are_seen_in_every_section():
    ini = parse("[DEFAULT]\nuser = me\n[a]\nx = %(user)s\n", file="old", findings=Findings())
    assert ini.section("a")["x"].text == "me"
    assert [entry.key for entry in ini.entries] == ["user", "x"]


@pytest.mark.parametrize("value", ["100%", "%(nobody)s", "%(x)s"])
def test_a_percent_sign_that_python_2_refused_is_taken_as_it_stands(value):
    findings = Findings()
    ini = parse(f"[a]\nx = {value}\n", file="old", findings=findings)
    (finding,) = findings.of(ini.entries, {})
    assert finding.verdict is Verdict.BUG
    assert "%" in ini.section("a")["x"].text


def test_values_are_python_literals_if_they_can_be():
    ini = parse(
        "[a]\nb = True\nl = ['x', 'y']\nq = \"a b\"\nn = 012\nw = 5L\nt = a b\n", file="old", findings=Findings()
    )
    read = {key: entry.value for key, entry in ini.section("a").items()}
    assert read == {"b": True, "l": ["x", "y"], "q": "a b", "n": 10, "w": 5, "t": "a b"}


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\n", 1), ("[a]\n\nx\n", 3), ("[a]\n  x = 1\n", 2), ("# only\nfoo bar\n", 2)],
)
def test_what_python_2_could_not_read_is_an_error_with_its_line(text, line):
    with pytest.raises(ConfigError, match=f"old.config:{line}:") as caught:
        parsed(text)
    assert caught.value.hint


def test_windows_line_ends_tabs_a_byte_order_mark_and_latin_1_do_no_harm():
    body = b"\xef\xbb\xbf[Cluster]\r\nscheduler\t=\tslurm\r\nuser = me\r\n"
    assert [entry.text for entry in translated(body, "old", Findings()).entries] == ["slurm", "me"]
    findings = Findings()
    assert translated(b"[Cluster]\nscheduler = slurm\nuser = M\xfcller\n", "old", findings).entries[1].text == "Müller"
    assert any("Latin-1" in what for _, what in findings.notes)


@pytest.mark.parametrize("body", [b"", b"\n\n# nothing\n", b"\x7fELF\x00\x01", b"[Cluster]\n", b"x" * (2 << 20)])
def test_what_is_no_configuration_is_an_error_with_a_hint(body):
    with pytest.raises(ConfigError) as caught:
        translated(body, "old", Findings())
    assert caught.value.hint


def test_a_secret_in_a_line_that_is_not_understood_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        parsed("[a]\nTOKEN eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln\n")
    assert "eyJ" not in caught.value.what
