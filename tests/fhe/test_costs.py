"""One way to measure a query."""

import time

import pytest

from hushtune.fhe.costs import QueryCosts, measure_query, median_costs


def test_a_query_is_measured_step_by_step():
    def slow(result, seconds):
        time.sleep(seconds)
        return result

    said, costs = measure_query(
        lambda: slow(b"q" * 7, 0.01),
        lambda query: slow(query * 2, 0.03),
        lambda response: slow(response.decode(), 0.02),
    )
    assert said == "q" * 14
    assert (costs.query_bytes, costs.response_bytes) == (7, 14)
    assert costs.encrypt_seconds >= 0.01 and costs.decrypt_seconds >= 0.02
    assert costs.compute_seconds >= 0.03
    assert costs.seconds == pytest.approx(
        costs.encrypt_seconds + costs.compute_seconds + costs.decrypt_seconds
    )
    assert QueryCosts(compute_seconds=2.0).seconds == 2.0


def test_medians_are_taken_cost_by_cost():
    queries = [QueryCosts(1.0, 2.0, None, 10, 20), QueryCosts(3.0, 8.0, None, 11, 20)]
    assert median_costs(queries) == QueryCosts(2.0, 5.0, None, 10, 20)
    assert median_costs([]) == QueryCosts()
