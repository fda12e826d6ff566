"""What a circuit's clients encrypt with, described in parameters of the list.

An artifact names the dimensions of its keys (`Encryption`); Concrete's specification is written
anew from them, with the noise of `hushtune.fhe.parameters` (`Encryption.specification`).
`Encryption.of_specification` is the way back: it reads what Concrete's compiler chose and refuses
everything that is not on the list.
"""

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..support.errors import ArtifactError
from .parameters import GLWE_SHAPES, VARIANCES

WORD_BITS = 64
FUNCTION = "forward"
"""What the circuit is called in a specification; client and server need not agree on it."""
SEED_WORDS, BODY_WORDS = 2, 1
"""Of a seeded ciphertext: its seed, and its last word."""
MOST_KEYS = 24
LARGEST_KEYS_BYTES = 1_500_000_000
"""Evaluation keys in memory; making them takes a minute and more on two cores."""
MOST_VALUES = 1 << 20
"""Of a query or a response."""
FEWEST_INPUTS = 22
"""The words of fewer cannot be told from the rest of Concrete's messages."""
MOST_QUERY_WORDS = 1 << 28
"""Of a query's ciphertexts, of which only seeds are sent: drawing them takes half a minute."""
MOST_RESPONSE_WORDS = 1 << 26
"""Half a GiB."""

Count = Annotated[int, Field(strict=True, ge=1, le=MOST_VALUES)]
Place = Annotated[int, Field(strict=True, ge=0, lt=MOST_KEYS)]
Level = Annotated[int, Field(strict=True, ge=1, le=WORD_BITS)]
Shape = Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)]


class Record(BaseModel):
    """Base of what travels in a manifest: immutable, no unknown field, finite numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class KeySwitch(Record):
    """A key that takes ciphertexts from one secret key to another."""

    input: Place
    output: Place
    levels: Level
    base_log: Level

    @model_validator(mode="after")
    def _check(self) -> "KeySwitch":
        if self.levels * self.base_log > WORD_BITS:
            raise ValueError(f"levels={self.levels} of base_log={self.base_log} exceed a word")
        return self


class Bootstrap(KeySwitch):
    """A bootstrapping key; its output key is a GLWE key of this shape, flattened."""

    glwe_dimension: Level
    polynomial_size: Count


class Values(Record):
    """Encrypted integers that go in or come out.

    Attributes:
        shape: of the integers.
        width: bits of an integer, its sign among them.
        signed: whether it has one.
        key: place of the secret key.
    """

    shape: Shape
    width: Annotated[int, Field(strict=True, ge=1, le=32)]
    signed: Annotated[bool, Field(strict=True)]
    key: Place

    @property
    def size(self) -> int:
        """How many integers."""
        return math.prod(self.shape)


class Encryption(Record):
    """All that a client must know to encrypt for a circuit, make keys and decrypt.

    Attributes:
        keys: dimensions of the secret keys; each must be on the list.
        bootstrap: bootstrapping keys.
        keyswitch: keyswitching keys.
        input: the one encrypted input, seeded.
        output: the one encrypted output.
    """

    keys: Annotated[tuple[Count, ...], Field(min_length=1, max_length=MOST_KEYS)]
    bootstrap: Annotated[tuple[Bootstrap, ...], Field(max_length=MOST_KEYS)] = ()
    keyswitch: Annotated[tuple[KeySwitch, ...], Field(max_length=MOST_KEYS)] = ()
    input: Values
    output: Values

    @model_validator(mode="after")
    def _check(self) -> "Encryption":
        for dimension in self.keys:
            if dimension not in VARIANCES:
                raise ValueError(f"keys={dimension}: no dimension of Hushtune's list")
        places = [place for key in self._switches() for place in (key.input, key.output)]
        places += [self.input.key, self.output.key]
        if max(places) >= len(self.keys):
            raise ValueError(f"key {max(places)} of {len(self.keys)}: there is none")
        for key in self.bootstrap:
            shape = key.glwe_dimension, key.polynomial_size
            if shape not in GLWE_SHAPES or math.prod(shape) != self.keys[key.output]:
                raise ValueError(f"GLWE shape {shape}: not on Hushtune's list, or not its key's")
        if max(self.input.size, self.output.size) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        if self.input.size < FEWEST_INPUTS:
            raise ValueError(f"input of {self.input.size} values, expected {FEWEST_INPUTS} or more")
        if self.response_words > MOST_RESPONSE_WORDS:
            raise ValueError(f"responses of more than {MOST_RESPONSE_WORDS:,} words")
        if self.input.size * (self.keys[self.input.key] + 1) > MOST_QUERY_WORDS:
            raise ValueError(f"queries of more than {MOST_QUERY_WORDS:,} words")
        if self.key_bytes > LARGEST_KEYS_BYTES:
            raise ValueError(f"evaluation keys of {self.key_bytes:,} bytes")
        return self

    @property
    def has_evaluation_keys(self) -> bool:
        """Whether the server needs keys of its clients: wherever a PBS is computed."""
        return bool(self.bootstrap or self.keyswitch)

    @property
    def query_words(self) -> int:
        """Of every query: each value takes a seed and a word."""
        return self.input.size * (SEED_WORDS + BODY_WORDS)

    @property
    def response_words(self) -> int:
        """Of every response, before it is truncated."""
        return self.output.size * (self.keys[self.output.key] + 1)

    @property
    def key_bytes(self) -> int:
        """What the evaluation keys take in memory, uncompressed."""
        words = 0
        for key in self.keyswitch:
            words += self.keys[key.input] * key.levels * (self.keys[key.output] + 1)
        for boot in self.bootstrap:
            side = boot.glwe_dimension + 1
            words += self.keys[boot.input] * boot.levels * side * side * boot.polynomial_size
        return 8 * words

    def _switches(self) -> tuple[KeySwitch, ...]:
        return (*self.bootstrap, *self.keyswitch)

    def specification(self, *, seeded: bool = True) -> dict[str, Any]:
        """Concrete's specification of a client, as its JSON; ids equal places.

        Args:
            seeded: whether inputs are written as a seed and a word each, as all queries are.
        """
        return {
            "keyset": {
                "lweSecretKeys": [
                    {
                        "id": place,
                        "params": {
                            "lweDimension": dimension,
                            "integerPrecision": WORD_BITS,
                            "keyType": "binary",
                        },
                    }
                    for place, dimension in enumerate(self.keys)
                ],
                "lweBootstrapKeys": [
                    self._evaluation_key(
                        place,
                        key,
                        glweDimension=key.glwe_dimension,
                        polynomialSize=key.polynomial_size,
                    )
                    for place, key in enumerate(self.bootstrap)
                ],
                "lweKeyswitchKeys": [
                    self._evaluation_key(place, key, outputLweDimension=self.keys[key.output])
                    for place, key in enumerate(self.keyswitch)
                ],
                "packingKeyswitchKeys": [],
            },
            "circuits": [
                {
                    "inputs": [self._gate(self.input, seeded=seeded)],
                    "outputs": [self._gate(self.output, seeded=False)],
                    "name": FUNCTION,
                }
            ],
        }

    def _evaluation_key(self, place: int, key: KeySwitch, **shape: int) -> dict[str, Any]:
        return {
            "id": place,
            "inputId": key.input,
            "outputId": key.output,
            "params": {
                "levelCount": key.levels,
                "baseLog": key.base_log,
                "variance": VARIANCES[self.keys[key.output]],
                "integerPrecision": WORD_BITS,
                "modulus": {"modulus": {"native": {}}},
                "keyType": "binary",
                "inputLweDimension": self.keys[key.input],
                **shape,
            },
            "compression": "seed",
        }

    def _gate(self, values: Values, *, seeded: bool) -> dict[str, Any]:
        dimension = self.keys[values.key]
        words = SEED_WORDS + BODY_WORDS if seeded else dimension + 1
        concrete = [*values.shape, words]
        return {
            "rawInfo": {
                "shape": {"dimensions": concrete},
                "integerPrecision": WORD_BITS,
                "isSigned": False,
            },
            "typeInfo": {
                "lweCiphertext": {
                    "abstractShape": {"dimensions": list(values.shape)},
                    "concreteShape": {"dimensions": list(concrete)},
                    "integerPrecision": WORD_BITS,
                    "encryption": {
                        "keyId": values.key,
                        "variance": VARIANCES[dimension],
                        "lweDimension": dimension,
                        "modulus": {"modulus": {"native": {}}},
                    },
                    "compression": "seed" if seeded else "none",
                    "encoding": {
                        "integer": {
                            "width": values.width,
                            "isSigned": values.signed,
                            "mode": {"native": {}},
                        }
                    },
                }
            },
        }

    @classmethod
    def of_specification(cls, specification: dict[str, Any]) -> "Encryption":
        """What a specification by Concrete's compiler says, if everything in it is on the list.

        Args:
            specification: Concrete's ``client.specs.json``.

        Raises:
            ArtifactError: a parameter is not on the list, or a field is not one that
                `specification` writes with the same value.
        """
        try:
            keyset, (circuit,) = specification["keyset"], specification["circuits"]
            (sent,), (received,) = circuit["inputs"], circuit["outputs"]
            encryption = cls(
                keys=tuple(key["params"]["lweDimension"] for key in keyset["lweSecretKeys"]),
                bootstrap=tuple(
                    Bootstrap(
                        **_switch(key),
                        glwe_dimension=key["params"]["glweDimension"],
                        polynomial_size=key["params"]["polynomialSize"],
                    )
                    for key in keyset["lweBootstrapKeys"]
                ),
                keyswitch=tuple(KeySwitch(**_switch(key)) for key in keyset["lweKeyswitchKeys"]),
                input=_values(sent),
                output=_values(received),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"encryption parameters: not those of Hushtune's list ({error}). "
                "Compile the artifact again with this version."
            ) from error
        expected = encryption.specification()
        expected["circuits"][0]["name"] = circuit.get("name")
        found = dict(specification)
        found.pop("tfhers_specs", None)  # of another library's ciphertexts; the client has none
        if difference := _difference(found, expected, "specification"):
            raise ArtifactError(
                f"encryption parameters: {difference}. Compile the artifact again with this "
                "version."
            )
        return encryption


def _switch(key: dict[str, Any]) -> dict[str, Any]:
    return {
        "input": key["inputId"],
        "output": key["outputId"],
        "levels": key["params"]["levelCount"],
        "base_log": key["params"]["baseLog"],
    }


def _values(gate: dict[str, Any]) -> Values:
    ciphertext = gate["typeInfo"]["lweCiphertext"]
    integer = ciphertext["encoding"]["integer"]
    return Values(
        shape=tuple(ciphertext["abstractShape"]["dimensions"]),
        width=integer["width"],
        signed=integer["isSigned"],
        key=ciphertext["encryption"]["keyId"],
    )


def _difference(found: Any, expected: Any, name: str) -> str | None:
    """Where two JSON values differ, for people; None if they are the same."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if set(found) != set(expected):
            return f"{name} has the fields {sorted(found)}, expected {sorted(expected)}"
        parts = ((found[key], expected[key], f"{name}.{key}") for key in expected)
        return next(filter(None, (_difference(*part) for part in parts)), None)
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        rest = (_difference(one, other, f"{name}[{place}]") for place, (one, other) in pairs)
        return next(filter(None, rest), None)
    if isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(found, expected, rel_tol=1e-9)
    else:
        same = type(found) is type(expected) and found == expected
    return None if same else f"{name}={found!r}, expected {expected!r}"
