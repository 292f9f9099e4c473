from __future__ import annotations

from glidepost.schema.demand import GlideinRelease, Tarball
from glidepost.site_puller.tarballs import lines

STABLE = Tarball("el9", "x86_64", "25.1", "https://x.example.org/a", "ab" * 32, 9)
CANARY = Tarball("any", "x86_64", "25.2", "https://x.example.org/b", "cd" * 32, 9, "2.34", 40)
BOUNDED = Tarball("any", "aarch64", "25.2", "https://x.example.org/b", "cd" * 32, 9, None, 40)


def test_a_tarball_is_a_line_of_six_words_and_what_is_known_more():
    said = lines(GlideinRelease("stable", (STABLE, CANARY, BOUNDED)), "north")
    assert [line.split()[6:] for line in said.splitlines()] == [[], ["2.34", "40"], ["-", "40"]]
    assert said.startswith(f"el9 x86_64 25.1 {'ab' * 32} 9 https://x.example.org/a\n")


def test_a_site_takes_its_own_channel_and_else_the_common_one():
    release = GlideinRelease("stable", (STABLE,), {"north": "canary", "east": "gone"}, {"canary": (CANARY,)})
    said = lines(release, "north").splitlines()
    assert [line.split()[2:3] for line in said] == [["25.2"], [], ["25.1"]]
    assert said[1] == "else"
    assert lines(release, "south") == lines(release, "east") == said[2]


def test_a_pool_without_a_tarball_gives_no_line():
    assert not lines(GlideinRelease("stable", ()), "north")
