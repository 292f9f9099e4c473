from __future__ import annotations

from dataclasses import replace

import pytest

from glidepost.publisher.site_terms import applied
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.sites import EnrolledSite


@pytest.fixture
def sites(site_key):
    key = site_key.public
    return {
        "north": EnrolledSite("north", key, groups=("group_physics", "@example.org")),
        "south": EnrolledSite("south", key, channel="canary"),
        "west": EnrolledSite("west", key),
    }


def test_the_groups_of_a_site_are_whom_it_accepts(config, sites):
    rules = applied(config, sites).rules
    assert rules == {"north": SiteRules(accept=("group_physics", "@example.org"))}


def test_the_rest_of_a_rule_goes_with_them(config, sites):
    config = replace(
        config, rules={"north": SiteRules(priority=5, deny=("group_test",)), "west": SiteRules(max_share=7)}
    )
    rules = applied(config, sites).rules
    assert rules["north"] == SiteRules(5, accept=("group_physics", "@example.org"), deny=("group_test",))
    assert rules["west"] == SiteRules(max_share=7)


def test_who_accepts_in_both_files_must_choose(config, sites):
    config = replace(config, rules={"north": SiteRules(accept=("group_other",))})
    with pytest.raises(ConfigError, match=r"\[rules\.north\] accept") as caught:
        applied(config, sites)
    assert "keep one" in caught.value.hint


def test_a_site_of_channel_canary_is_one_of_the_canary_sites(config, sites):
    config = replace(config, glidein=replace(config.glidein, canary_sites=("west",)))
    assert set(applied(config, sites).glidein.canary_sites) == {"south", "west"}
    both = replace(config, glidein=replace(config.glidein, canary_sites=("south",)))
    assert applied(both, sites).glidein.canary_sites == ("south",)


def test_a_file_with_keys_only_changes_nothing(config, sites):
    assert applied(config, {"west": sites["west"]}) == config
