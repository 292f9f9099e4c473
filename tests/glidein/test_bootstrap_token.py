"""Where a glidein finds the pool token, on nodes that share no file system with the submit host."""

from __future__ import annotations

RAN = "touch $MADE/ran"


def test_a_token_that_the_batch_system_has_brought_along_will_do(node):
    brought = node.account.make_folder(node.folder / "sandbox")
    token = node.token.read_text()
    node.token.rename(brought / "token")
    node.shell = ["env", "-C", str(brought), *node.shell]
    ended = node.run_master('cp "$SCRATCH/tokens.d/pool" "$MADE/token"; exit 0')
    assert (node.made / "token").read_text() == token
    assert ended.outcome != "token-unreadable"


def test_a_token_where_it_should_be_comes_before_one_that_was_brought_along(dash_node):
    brought = dash_node.account.make_folder(dash_node.folder / "sandbox")
    (brought / "token").write_text("an.old.one\n")
    dash_node.shell = ["env", "-C", str(brought), *dash_node.shell]
    dash_node.run_master('cp "$SCRATCH/tokens.d/pool" "$MADE/token"; exit 0')
    assert (dash_node.made / "token").read_text() == dash_node.token.read_text()


def test_a_token_that_was_brought_along_must_be_one_too(dash_node):
    dash_node.token.unlink()
    brought = dash_node.account.make_folder(dash_node.folder / "sandbox")
    (brought / "token").write_text("no token\n")
    dash_node.shell = ["env", "-C", str(brought), *dash_node.shell]
    ended = dash_node.run_master(RAN)
    assert ended.outcome == "token-unreadable"
    assert str(brought / "token") in ended.detail


def test_a_token_in_a_folder_that_this_node_cannot_name_may_have_been_brought_along(dash_node):
    dash_node.shell = ["env", "-C", str(dash_node.folder), *dash_node.shell]
    ended = dash_node.run_master(RAN, TOKEN_FILE="$NOWHERE/token")
    assert ended.outcome != "token-unreadable"
    assert (dash_node.made / "ran").exists()


def test_a_token_that_the_puller_renews_while_a_glidein_waits_is_the_one_that_it_starts_with(node):
    submitted = node.script(node.line(node.pack('cp "$SCRATCH/tokens.d/pool" "$MADE/token"; exit 0')), {})
    renewed = node.folder / "token.new"
    renewed.write_text("re.new.ed\n")
    node.account.give(renewed, 0o600)
    renewed.rename(node.token)  # as the puller does it
    node.end(node.start(submitted))
    assert (node.made / "token").read_text() == "re.new.ed\n"
