"""Beside the pool: the aggregator that turns heartbeats into the status page, and the demonstration."""
