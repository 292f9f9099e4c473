"""What sites.toml says about a site beside its key, as the rules and canary sites of publisher.toml. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import PublisherConfig, SiteRules
from glidepost.schema.sites import CANARY, EnrolledSite


def applied(config: PublisherConfig, sites: Mapping[str, EnrolledSite]) -> PublisherConfig:
    """Returns the configuration in which a site's groups are what its rule accepts, and its channel is heeded.

    Args:
        config: As in publisher.toml.
        sites: Those that take part.

    Raises:
        ConfigError: when both files say whom a site runs: neither is the other's default.
    """
    rules = dict(config.rules)
    for name, site in sites.items():
        accept = accepted(config, name, site.groups)
        if accept:
            rules[name] = replace(rules.get(name, SiteRules()), accept=accept)
    canaries = [name for name, site in sites.items() if site.channel == CANARY]
    glidein = replace(config.glidein, canary_sites=tuple(dict.fromkeys([*config.glidein.canary_sites, *canaries])))
    return replace(config, rules=rules, glidein=glidein)


def accepted(config: PublisherConfig, site: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Returns whom the pool lets run at a site, by its groups in sites.toml and its rule; empty: all.

    Raises:
        ConfigError: when both say so.
    """
    rule = config.rules.get(site, SiteRules())
    if groups and rule.accept:
        raise ConfigError(
            f"{config.demand.sites}: [{site}] groups, and publisher.toml: [rules.{site}] accept: both say whom it runs",
            hint="keep one of them; deny in publisher.toml goes with both",
        )
    return groups or rule.accept
