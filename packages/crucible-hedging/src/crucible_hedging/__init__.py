"""Shorter tail latency for any async call: race a late call against a backup, within a budget."""
