"""What a plain installation would put on someone's machine."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hushtune

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("hushtune-*.whl"))


def test_nothing_but_hushtune_is_installed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hushtune"}
    for room in ("support", "configs", "model", "training", "fhe", "eval", "hushtune"):
        for module in (ROOT / room).rglob("*.py"):
            inside = module.relative_to(ROOT).as_posix().removeprefix("hushtune/")
            assert f"hushtune/{inside}" in names


def test_the_shipped_configs_travel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"hushtune/configs/{path.name}" in names


def test_the_page_travels(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "hushtune" / "app" / "static").iterdir():
        assert f"hushtune/app/static/{path.name}" in names


def test_every_public_name_is_there_and_documented():
    for name in hushtune.__all__:
        assert getattr(hushtune, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(hushtune, "Nothing")  # noqa: B009


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_locks_name_versions_and_no_addresses(python):
    lines = (ROOT / "locks" / f"python-{python}.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert len(packages) > 50
    assert all("==" in line and "/" not in line for line in packages)
    assert "concrete-ml==1.9.0" in packages
