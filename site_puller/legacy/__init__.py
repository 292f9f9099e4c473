"""Reads what a site wrote for pyglidein: configurations, batch scripts, submit files; writes a puller.toml."""
