"""The contract: everything that the publisher, the sites and the aggregator must agree on.

Documents that travel (demand, mailbox, heartbeat, status) and configuration files each have a JSON Schema file, which
is normative, and a module with frozen dataclasses. Beside them: units, resources, errors, signing and sealing.
"""
