"""The list of encryption parameters, and the specification that is written anew from it."""

import copy
import json
import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from hushtune.fhe.encryption import Bootstrap, Encryption, KeySwitch, Values
from hushtune.fhe.parameters import GLWE_SHAPES, VARIANCES
from hushtune.support.errors import ArtifactError

SLOPE, BIAS = -0.025696778711484593, 2.675931372549016
"""Of Concrete's curve for 128 bits of security: log2 of the least deviation by dimension."""


def described() -> Encryption:
    """A circuit with two levels of keys, as Concrete makes them."""
    return Encryption(
        keys=(2048, 800),
        bootstrap=(
            Bootstrap(
                input=1, output=0, levels=2, base_log=15, glwe_dimension=1, polynomial_size=2048
            ),
        ),
        keyswitch=(KeySwitch(input=0, output=1, levels=5, base_log=3),),
        input=Values(shape=(1, 4, 32, 4), width=11, signed=True, key=0),
        output=Values(shape=(1, 7), width=8, signed=True, key=0),
    )


def leaves(value, path=()):
    """Every field of a specification: its path and its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path, value


def changed(specification, path, value):
    """A copy with another value at a path."""
    copied = copy.deepcopy(specification)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return copied


def others(value):
    """Values that a service could write in place of one."""
    if isinstance(value, bool):
        return [not value, 1, None]
    if isinstance(value, int):
        return [value + 1, 8, 0, -1, 2**40, float(value), str(value), None]
    if isinstance(value, float):
        return [1e40, 0.0, -value, value * 1.01, value / 2, float("nan"), float("inf"), None]
    if isinstance(value, str):
        return ["ternary", "none" if value == "seed" else "seed", "", None]
    return [{"native": {}}, {"power": 64}, [], None, [{}]]


def test_noise_is_that_of_128_bits():
    for dimension, variance in VARIANCES.items():
        assert math.log2(variance) / 2 == pytest.approx(
            max(SLOPE * dimension + BIAS, -62), abs=1e-9
        )
        assert 2.0**-62 <= math.sqrt(variance) < 2.0**-15
    assert all(math.prod(shape) in VARIANCES for shape in GLWE_SHAPES)
    assert len(VARIANCES) < 50


@pytest.mark.slow
def test_the_list_is_what_concrete_chooses():
    command = [sys.executable, "-m", "hushtune.fhe.export.parameter_list"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "the module has these tables: True" in said
    assert f"asked of Concrete: {sorted(VARIANCES)}" in said


def test_a_specification_is_read_and_written_anew():
    encryption = described()
    specification = json.loads(json.dumps(encryption.specification()))
    assert Encryption.of_specification(specification) == encryption
    assert Encryption.model_validate(encryption.model_dump(mode="json")) == encryption


def test_every_field_of_a_specification_is_checked_or_rewritten():
    specification = described().specification()
    places = list(leaves(specification))
    assert len(places) > 60
    for path, value in places:
        for other in others(value):
            hostile = changed(specification, path, other)
            try:
                accepted = Encryption.of_specification(hostile)
            except ArtifactError:
                continue
            # what was accepted says so, and noise and ids come from the list, not from outside
            written = accepted.specification()
            assert written == hostile or path[-1] == "name", (path, other)
            assert list(leaves(written))[0] == (("keyset", "lweSecretKeys", 0, "id"), 0)
            for where, found in leaves(written):
                if where[-1] == "variance":
                    assert found in VARIANCES.values()
                if where[-1] == "id":
                    assert found == where[where.index("id") - 1]


def test_missing_and_further_fields_are_refused():
    specification = described().specification()
    for path, _ in leaves(specification):
        for depth in range(1, len(path) + 1):
            holder = copied = copy.deepcopy(specification)
            for key in path[: depth - 1]:
                holder = holder[key]
            del holder[path[depth - 1]]
            try:
                accepted = Encryption.of_specification(copied)
            except ArtifactError:
                continue
            # one evaluation key less is another circuit, and described as such
            assert path[1:2] in (("lweBootstrapKeys",), ("lweKeyswitchKeys",)) and depth == 3
            assert accepted.specification() == copied
        if isinstance(path[-1], str):
            with pytest.raises(ArtifactError, match="fields"):
                Encryption.of_specification(changed(specification, (*path[:-1], "more"), 1))


def test_swapped_ids_are_refused():
    specification = described().specification()
    one, other = specification["keyset"]["lweSecretKeys"]
    one["id"], other["id"] = 1, 0
    with pytest.raises(ArtifactError, match=r"lweSecretKeys\[0\].id=1, expected 0"):
        Encryption.of_specification(specification)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"keys": (2048, 8)}, "no dimension"),
        ({"keys": (2048,)}, "there is none"),
        ({"keys": ()}, "at least 1"),
        ({"input": Values(shape=(1, 21), width=4, signed=True, key=0)}, "22 or more"),
        ({"keys": (2048, 800) * 20}, "at most"),
        ({"input": Values(shape=(1 << 20, 2), width=4, signed=True, key=0)}, "more than"),
        ({"keys": (131072,), "bootstrap": (), "keyswitch": ()}, "no dimension"),
        (
            {
                "keys": (32768, 32768),
                "bootstrap": (),
                "keyswitch": (KeySwitch(input=0, output=1, levels=8, base_log=8),),
            },
            "evaluation keys of",
        ),
        (
            {
                "keys": (32768,),
                "bootstrap": (),
                "keyswitch": (),
                "input": Values(shape=(9000,), width=4, signed=True, key=0),
            },
            "queries of more than",
        ),
        (
            {
                "keys": (32768,),
                "bootstrap": (),
                "keyswitch": (),
                "output": Values(shape=(3000,), width=4, signed=True, key=0),
            },
            "responses of more than",
        ),
    ],
)
def test_what_is_not_on_the_list_is_refused(change, expected):
    with pytest.raises(ValidationError, match=expected):
        Encryption.model_validate(described().model_dump() | change)


def test_a_bootstrapping_key_must_have_its_secret_keys_size():
    boot = described().bootstrap[0].model_dump()
    for shape in ((1, 1024), (2, 2048), (2048, 1), (64, 32)):
        other = boot | {"glwe_dimension": shape[0], "polynomial_size": shape[1]}
        with pytest.raises(ValidationError):
            Encryption.model_validate(described().model_dump() | {"bootstrap": (other,)})
