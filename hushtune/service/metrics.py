"""Metrics for Prometheus, of this process alone: scrape each server that shares a folder."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    """The counters of one server process. Labels are few and fixed: no ids, no names,
    nothing that a client makes up.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        with_registry = {"registry": self.registry}
        self.requests = Counter(
            "hushtune_requests",
            "Requests answered.",
            ["method", "route", "status"],
            **with_registry,
        )
        self.request_seconds = Histogram(
            "hushtune_request_seconds", "Time to answer a request.", ["route"], **with_registry
        )
        self.received = Counter("hushtune_received_bytes", "Bytes of bodies.", **with_registry)
        self.sent = Counter("hushtune_sent_bytes", "Bytes of answers.", **with_registry)
        self.queries = Counter(
            "hushtune_queries", "Queries ended, by outcome.", ["outcome"], **with_registry
        )
        self.query_seconds = Histogram(
            "hushtune_query_seconds", "Computing time of queries.", buckets=SECONDS, **with_registry
        )
        self.wait_seconds = Histogram(
            "hushtune_wait_seconds", "Waiting time of queries.", buckets=SECONDS, **with_registry
        )
        self.keys_accepted = Counter("hushtune_keys_accepted", "Uploads kept.", **with_registry)
        self.keys_refused = Counter("hushtune_keys_refused", "Uploads refused.", **with_registry)
        self.keys_evicted = Gauge(
            "hushtune_keys_evicted", "Key sets that made room since the start.", **with_registry
        )
        self.keys = Gauge("hushtune_keys", "Key sets stored.", **with_registry)
        self.key_bytes = Gauge("hushtune_key_bytes", "Bytes of stored keys.", **with_registry)
        self.waiting = Gauge("hushtune_queries_waiting", "Queries waiting.", **with_registry)
        self.workers_ready = Gauge("hushtune_workers_ready", "Workers ready.", **with_registry)
        self.workers_busy = Gauge("hushtune_workers_busy", "Workers computing.", **with_registry)
        self.workers_replaced = Gauge(
            "hushtune_workers_replaced", "Workers replaced since the start.", **with_registry
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
