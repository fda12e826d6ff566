"""What a sweep measured: one JSON file, from which its report is written."""

from ...configs.schema import Settings
from ...support.machine import Machine


class Accuracy(Settings):
    """Rates between 0 and 1 on the main test's clips."""

    top1: float
    """Right song first, of clips of known songs."""
    top1_by_snr_db: dict[str, float]
    """The same by signal-to-noise ratio."""
    top1_by_seconds: dict[str, float]
    """The same for clips of other lengths."""
    correctly_identified: float
    """Known clips whose song ranks first and is accepted at the shipped threshold."""
    falsely_rejected: float
    """Known clips rejected at that threshold."""
    unknown_rejected: float
    """Unknown clips rejected at that threshold."""
    dir_1: float
    """Detection and identification rate at the threshold fixed for 1 % of false alarms."""
    dir_1_false_alarms: float
    """The share of unknown clips that this threshold accepted."""
    dir_1_on_test: float
    """The same where the threshold accepts 1 % of the test's own unknown clips: to compare
    variants at equal false alarms."""


class VariantResult(Settings):
    """What one variant achieves and costs."""

    name: str
    note: str
    answer: str
    """What the client decrypts: ``logits``, or a ``number``. With a number, the quantized rates at
    the shipped threshold are the circuit's; the others are its network's."""
    digest: str
    """Of the configuration and of what was measured."""
    created: str
    machine: Machine
    """Where it was measured; only seconds of the same machine can be compared."""
    songs: int
    known_clips: int
    unknown_clips: int
    features: int
    """Values encrypted of each clip."""
    float_accuracy: Accuracy
    quantized_accuracy: Accuracy
    encrypted_clips: int
    encrypted_agrees: float
    """Share of those clips with the answer in the clear."""
    encrypted_right: float
    """Share of those clips whose answer, a song or "unknown", is right."""
    pbs: int
    widest_bits: int
    train_seconds: float | None
    """Without what the cache held; None where the training was done before."""
    compute_seconds: float
    """Server, median over the encrypted clips."""
    seconds_by_cores: dict[int, float] = {}
    """The same on numbers of cores, where asked for."""
    query_bytes: int
    response_bytes: int
    evaluation_key_bytes: int


class SweepResult(Settings):
    """All finished variants of a sweep."""

    title: str
    command: str
    created: str
    earlier_version: str = ""
    """Where not empty: these figures were measured with an earlier version of Hushtune, which
    trained in another way, and why that matters."""
    variants: list[VariantResult]
    failed: dict[str, str] = {}
    """Variants that do not compile, and why."""
