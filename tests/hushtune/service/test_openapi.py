"""The OpenAPI description against the live server, by Schemathesis.

``HUSHTUNE_SCHEMA_EXAMPLES=200`` makes more than a thousand cases of it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = os.environ.get("HUSHTUNE_SCHEMA_EXAMPLES", "8")


def schemathesis(url: str, folder: Path, *options: str) -> str:
    """Run it; its report. No valid body can be described, so valid ones may be refused."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--no-color"]
    done = subprocess.run(
        [*command, "--max-examples", EXAMPLES, "--checks", "all", "--seed", "1"]
        + ["--exclude-checks", "positive_data_acceptance", *options],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_no_failure_and_no_breach_of_the_description(live, tmp_path):
    report = schemathesis(live.url, tmp_path)
    assert int(re.search(r"(\d+) generated", report)[1]) > 100, report
    assert not [e for e in live.events("request") if e["status"] in (500, 502, 504)]


def test_nor_where_ids_are_real(live, alice, tmp_path):
    key = live.upload(alice.keys)
    query = live.submit(key, alice.query).json()["id"]
    live.response(query)
    (tmp_path / "schemathesis.toml").write_text(
        f'[parameters]\n"path.key" = "{key}"\n"path.query" = "{query}"\n'
    )
    schemathesis(live.url, tmp_path, "--exclude-method", "DELETE", "--include-path-regex", "{")
    assert live.http.get(f"/v1/queries/{query}/response").status_code == 200
    live.http.delete(f"/v1/keys/{key}")
