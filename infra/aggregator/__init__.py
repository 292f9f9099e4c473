"""The aggregator: the demand and all heartbeats in, status.json and a page out.

Run by Lambda, by cron, or by the publisher.
"""
