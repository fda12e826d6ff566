"""Metrics for Prometheus, of this process alone: scrape each server that shares a folder."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    """The counters of one server process. Labels are few and fixed: no ids, no names,
    nothing that a client makes up.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter(
            "hushtune_requests", "Requests answered.", ["method", "route", "status"]
        )
        self.request_seconds = histogram(
            "hushtune_request_seconds", "Time to answer a request.", ["route"]
        )
        self.received = counter("hushtune_received_bytes", "Bytes of bodies.")
        self.sent = counter("hushtune_sent_bytes", "Bytes of answers.")
        self.queries = counter("hushtune_queries", "Queries ended, by outcome.", ["outcome"])
        self.query_seconds = histogram(
            "hushtune_query_seconds", "Computing time of queries.", buckets=SECONDS
        )
        self.wait_seconds = histogram(
            "hushtune_wait_seconds", "Waiting time of queries.", buckets=SECONDS
        )
        self.keys_accepted = counter("hushtune_keys_accepted", "Uploads kept.")
        self.keys_refused = counter("hushtune_keys_refused", "Uploads refused.")
        self.keys_evicted = gauge(
            "hushtune_keys_evicted", "Key sets that made room since the start."
        )
        self.keys = gauge("hushtune_keys", "Key sets stored.")
        self.key_bytes = gauge("hushtune_key_bytes", "Bytes of stored keys.")
        self.waiting = gauge("hushtune_queries_waiting", "Queries waiting.")
        self.workers_ready = gauge("hushtune_workers_ready", "Workers ready.")
        self.workers_busy = gauge("hushtune_workers_busy", "Workers computing.")
        self.workers_replaced = gauge(
            "hushtune_workers_replaced", "Workers replaced since the start."
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
