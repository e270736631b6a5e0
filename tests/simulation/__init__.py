"""A deterministic simulation of the daemon: days of campaigns, faults and crashes in seconds, all from one seed."""
