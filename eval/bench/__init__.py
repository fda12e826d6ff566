"""Seconds, bytes and memory of a query under FHE."""
