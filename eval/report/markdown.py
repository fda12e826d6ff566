"""The report as Markdown: the tables a person reads, beside the pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...support.errors import ConfigError
from ...support.files import write_atomically
from ...support.units import readable_bytes
from ..crossval.fold import ENCRYPTED, FLOAT, LANDMARKS, MFCC, MFCC_ENCRYPTED, QUANTIZED, SIMULATED
from ..intervals import Interval
from .schema import FheCosts, ProtocolResult, Report, System

PROTOCOLS = {
    "conditions": (
        "Unseen conditions on enrolled audio",
        "Each class is one track, so a fold cannot leave tracks out. A fold here is stratified by "
        "track: every fold tests every track, at two of the signal-to-noise ratios in turn, so "
        "that all folds together test each track equally often at each. What a fold leaves out "
        "is a share of the noise recordings and impulse responses (whole recordings; one "
        "further share validates and sets thresholds) and its own random numbers. Its test clips "
        "are random pieces of the enrolled tracks under those sounds.",
    ),
    "segments": (
        "Held-out segments",
        "As above, and beside that each fold holds out one contiguous part of every track, with a "
        "guard on both sides as long as the tested clip. Networks and baselines learn the rest; "
        "test clips come from the held-out part alone, and are as long as it where it is shorter "
        "than the crop. A fingerprint of the recording cannot find these; a network "
        "can as far as music resembles itself.",
    ),
    "halves": (
        "The other half (the bounty winner's 15 s / 15 s)",
        "Two folds, no guard: trained on the first half of every track and tested on the last, and "
        "the other way round.",
    ),
    "trained": (
        "The trained run",
        "The networks of one run on its own test side: recordings and impulse responses kept out "
        "of its training.",
    ),
}


def render(report: Report, pictures: Sequence[str], *, folder: str = "") -> str:
    """The whole report.

    Args:
        report: what to render.
        pictures: names of the PNG files drawn.
        folder: where they lie, relative to the Markdown file, with its slash.
    """
    machine = report.machine
    parts = [
        f"# Results: {report.name}\n",
        f"Made by `{report.command}` on {report.created[:10]} "
        f"({machine.hardware}, {machine.system}, Python {machine.python}; "
        + ", ".join(f"{name} {value}" for name, value in report.versions.items())
        + f"; seed {report.seed}). Intervals are 95 %, bootstrapped over tracks, since clips of "
        "one track fail together; agreements have Wilson's interval. A figure under *real FHE* "
        "was computed on ciphertexts; simulated ones say so.\n",
        f"Each fold trains {report.training}.\n",
        "## At a glance\n",
        headline(report),
    ]
    for protocol in report.protocols:
        parts += _protocol(
            protocol, pictures, folder, report.config["training"]["false_alarm_rate"]
        )
    parts += _cost(report, pictures, folder)
    parts += _catalogue(report)
    return "\n".join(parts).rstrip() + "\n"


def headline(report: Report) -> str:
    """The table that the README shows, too."""
    protocol = report.protocols[0]
    columns = [
        system
        for name in (FLOAT, QUANTIZED, ENCRYPTED, MFCC, LANDMARKS)
        for system in protocol.systems
        if system.name == name
    ]
    rows = [
        ("clips of known / unknown songs", lambda s: f"{s.clips_known:,} / {s.clips_unknown:,}"),
        ("right song first (top-1)", lambda s: _text(s.top1)),
        ("among the first three (top-3)", lambda s: _text(s.top3)),
        ("top-1 at 0 dB", lambda s: _text(s.by_snr_db.get("0"))),
        ("unknown songs rejected", lambda s: _text(s.rejection and s.rejection.unknown_rejected)),
        ("known clips lost as unknown", lambda s: _text(s.rejection and s.rejection.known_lost)),
        ("found at 1 % false alarms (DIR)", lambda s: _text(s.rejection and s.rejection.dir_1)),
        ("AUROC", lambda s: _text(s.rejection and s.rejection.auroc)),
    ]
    shares = [[name, *(cell(system) for system in columns)] for name, cell in rows]
    return _table(
        ["", *(_short(system) for system in columns)],
        shares + _headline_costs(protocol, [system.name for system in columns]),
    )


def _headline_costs(protocol: ProtocolResult, names: Sequence[str]) -> list[list[str]]:
    """What a query costs: of what runs encrypted, under real FHE."""
    costs = {ENCRYPTED: protocol.fhe_costs, MFCC: protocol.mfcc_costs}
    if not any(costs.values()):
        return []
    rows = [["server seconds a query"], ["response"], ["evaluation keys, sent once"]]
    for name in names:
        found = costs.get(name)
        if found is not None:
            mark = "" if name == ENCRYPTED else " (FHE)"
            rows[0].append(f"{found.compute_seconds:.2g} s{mark}")
            rows[1].append(f"{readable_bytes(found.response_bytes)}{mark}")
            rows[2].append(f"{readable_bytes(found.evaluation_key_bytes)}{mark}")
        elif name == LANDMARKS and protocol.landmark_seconds is not None:
            rows[0].append(f"{protocol.landmark_seconds:.2g} s (clear)")
            rows[1].append("-")
            rows[2].append("-")
        else:
            for row in rows:
                row.append("-")
    return rows


def _short(system: System) -> str:
    return {
        FLOAT: "floating point",
        QUANTIZED: "quantized",
        ENCRYPTED: "real FHE",
        MFCC: "MFCC + LR",
        LANDMARKS: "landmarks",
    }[system.name]


def _text(share: Interval | None) -> str:
    return share.text if share is not None else "-"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _protocol(
    protocol: ProtocolResult, pictures: Sequence[str], folder: str, shipped: float
) -> list[str]:
    title, text = PROTOCOLS[protocol.name]
    parts = [
        f"## {title}\n",
        f"`{protocol.name}`: {protocol.folds} fold(s), {protocol.known_tracks} known and "
        f"{protocol.unknown_tracks} unknown songs. {text}\n",
        "### Known songs\n",
        _table(
            ["system", "clips", "top-1", "top-3", "top-1 over folds", "top-3 over folds"],
            [
                [
                    system.title,
                    f"{system.clips_known:,}",
                    _text(system.top1),
                    _text(system.top3),
                    _spread(system.top1_folds),
                    _spread(system.top3_folds),
                ]
                for system in protocol.systems
            ],
        ),
        "Top-1 in each fold (%), quantized network: "
        + ", ".join(
            f"{100 * value:.1f}"
            for system in protocol.systems
            if system.name == QUANTIZED
            for value in system.top1_folds.folds
        )
        + ".\n",
        "### Unknown songs\n",
        "Every threshold was fixed on training folds (unknown songs that did not teach what "
        "judges them, under sounds of other folds); the false alarms it then gave are beside it. "
        f"*Shipped* is the threshold that travels in an artifact, fixed for {100 * shipped:g} %.\n",
        _table(
            [
                "system",
                "clips",
                "rejected",
                "wrongly accepted",
                "known lost",
                "AUROC",
                "OSCR",
                "DIR, 1 %",
                "its false alarms",
                "DIR (shipped)",
                "DIR, 1 % set on test",
            ],
            [
                [
                    system.title,
                    f"{system.clips_unknown:,}",
                    _text(r.unknown_rejected),
                    _text(r.unknown_accepted),
                    _text(r.known_lost),
                    _text(r.auroc),
                    _text(r.oscr),
                    _text(r.dir_1),
                    _text(r.alarms_1),
                    _text(r.found_and_accepted),
                    f"{100 * r.dir_1_on_test:.1f} %",
                ]
                for system in protocol.systems
                if (r := system.rejection) is not None
            ],
        ),
    ]
    if protocol.sub_catalogues:
        parts += [
            "Smaller catalogues (a random choice of the songs in each fold; the other songs' "
            "logits dropped and the verdict calibrated anew, nothing retrained):\n",
            _table(
                ["system", "songs", "top-1", "rejected", "known lost", "AUROC", "OSCR", "DIR, 1 %"],
                [
                    [
                        part.system,
                        str(part.songs),
                        _text(part.top1),
                        _text(part.rejection.unknown_rejected),
                        _text(part.rejection.known_lost),
                        _text(part.rejection.auroc),
                        _text(part.rejection.oscr),
                        _text(part.rejection.dir_1),
                    ]
                    for part in protocol.sub_catalogues
                ],
            ),
        ]
    parts += _pictures(
        pictures,
        folder,
        {
            f"{protocol.name}-snr.png": "Top-1 by noise",
            f"{protocol.name}-dir-far.png": "Found and accepted against false alarms",
            f"{protocol.name}-models.png": "Floating point, quantized, FHE",
        },
    )
    if protocol.agreements:
        parts += [
            "### Real FHE against the clear\n",
            "On the very same clips: *same answer* is the same song, or both unknown.\n",
            _table(
                [
                    "execution",
                    "clips",
                    "same answer as in the clear",
                    "top-1",
                    "top-1 in the clear",
                ],
                [
                    [
                        _AGREEING[agreement.system],
                        str(agreement.clips),
                        _text(agreement.same_answer),
                        _text(agreement.top1),
                        _text(agreement.top1_quantized),
                    ]
                    for agreement in protocol.agreements
                ],
            ),
        ]
    parts += _query_costs(protocol)
    parts += _conditions(protocol)
    if protocol.worst_tracks:
        parts += [
            "### Tracks missed most (quantized network)\n",
            _table(
                ["track", "top-1", "taken for", "what may be the reason"],
                [
                    [
                        _cell(track.name),
                        f"{100 * track.top1:.0f} %",
                        _cell(track.taken_for),
                        _cell("; ".join(track.reasons) or "none found"),
                    ]
                    for track in protocol.worst_tracks
                ],
            ),
        ]
    if protocol.fold_seconds:
        hours = sum(protocol.fold_seconds) / len(protocol.fold_seconds) * protocol.folds / 3600
        parts.append(
            f"Training took {_minutes(protocol.train_seconds)} a fold and everything "
            f"{_minutes(protocol.fold_seconds)}, real FHE included; {protocol.folds} folds so take "
            f"{hours:.1f} h.\n"
        )
    return parts


_AGREEING = {
    ENCRYPTED: "quantized network, real FHE",
    SIMULATED: "quantized network, FHE simulated",
    MFCC_ENCRYPTED: "MFCC + logistic regression, real FHE",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _spread(spread) -> str:
    return f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f} %"


def _minutes(seconds: Sequence[float]) -> str:
    low, high = min(seconds) / 60, max(seconds) / 60
    return f"{low:.1f} min" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} min"


def _pictures(pictures: Sequence[str], folder: str, wanted: dict[str, str]) -> list[str]:
    return [f"![{text}]({folder}{name})\n" for name, text in wanted.items() if name in pictures]


def _query_costs(protocol: ProtocolResult) -> list[str]:
    ours, theirs = protocol.fhe_costs, protocol.mfcc_costs
    if ours is None:
        return []
    rows: list[list[str]] = []

    def row(name: str, cell) -> None:
        cells = [cell(ours)]
        if theirs is not None:
            cells += [cell(theirs)]
        rows.append([name, *cells])

    row("clips in real FHE", lambda c: str(c.clips))
    row("table look-ups (PBS)", lambda c: str(c.pbs))
    row("keys made (s)", lambda c: f"{c.key_seconds:.2f}")
    row("encrypted (s)", lambda c: f"{c.encrypt_seconds:.2f}")
    row("computed by the server (s)", lambda c: f"{c.compute_seconds:.2f}")
    row("decrypted (s)", lambda c: f"{c.decrypt_seconds:.2f}")
    row("query", lambda c: readable_bytes(c.query_bytes))
    row("response", lambda c: readable_bytes(c.response_bytes))
    row("evaluation keys, once", lambda c: readable_bytes(c.evaluation_key_bytes))
    head = ["a clip", "Hushtune", *(["MFCC + logistic regression"] if theirs else [])]
    text = ["### A query in real FHE, trained weights, medians\n", _table(head, rows)]
    if theirs is not None:
        text.append(
            "In the same run on the same clips: the server computes "
            f"{_ratio(ours, theirs, 'compute_seconds')} times as long as for MFCC + logistic "
            f"regression, and sends {_ratio(ours, theirs, 'response_bytes')} times its bytes. "
            "Concrete's own code computes the baseline, as it did the winner's. Hushtune's bytes "
            "are counted with the envelopes they are sent in.\n"
        )
    if protocol.landmark_seconds is not None:
        text.append(
            f"The landmark matcher takes {1000 * protocol.landmark_seconds:.0f} ms a clip in the "
            "clear, on one core.\n"
        )
    return text


def _ratio(ours: FheCosts, theirs: FheCosts, name: str) -> str:
    return f"{getattr(ours, name) / getattr(theirs, name):.2g}"


def _conditions(protocol: ProtocolResult) -> list[str]:
    systems = [s for s in protocol.systems if s.name in (FLOAT, QUANTIZED, MFCC, LANDMARKS)]
    parts = ["### By condition (top-1)\n"]
    for title, name, unit in (
        ("Noise", "by_snr_db", " dB"),
        ("Clip length (SNR of all kinds)", "by_seconds", " s"),
        ("Each distortion alone (none: the clean track; noise: 5 dB)", "by_distortion", ""),
        ("Genre, or source where the catalogue gives that", "by_genre", ""),
    ):
        keys = list(getattr(systems[0], name))
        if not keys:
            continue
        if name in ("by_snr_db", "by_seconds"):
            keys.sort(key=float)
        parts += [
            f"{title}:\n",
            _table(
                ["", *(_short(system) for system in systems)],
                [
                    [f"{_cell(key)}{unit}", *(_text(getattr(s, name).get(key)) for s in systems)]
                    for key in keys
                ],
            ),
        ]
    return parts


def _cost(report: Report, pictures: Sequence[str], folder: str) -> list[str]:
    if not report.costs:
        return []
    beside = any(row.concrete_seconds is not None for row in report.costs)
    rows = []
    for row in sorted(report.costs, key=lambda row: (row.songs, row.cores)):
        size = [f"{row.songs:,}", str(row.cores)]
        if row.error is not None:
            rows.append([*size, _cell(row.error)])
            continue
        concrete = "-" if row.concrete_seconds is None else f"{row.concrete_seconds:.2f}"
        rows.append(
            [
                *size,
                str(row.pbs),
                f"{row.key_seconds:.1f}",
                f"{row.encrypt_seconds:.2f}",
                f"{row.compute_seconds:.2f}",
                *([concrete] if beside else []),
                f"{row.decrypt_seconds:.2f}",
                readable_bytes(row.evaluation_key_bytes),
                readable_bytes(row.query_bytes),
                readable_bytes(row.response_bytes),
                readable_bytes(row.client_peak_bytes),
                readable_bytes(row.server_peak_bytes),
                f"{row.compile_seconds:.0f} s, {readable_bytes(row.compile_peak_bytes)}",
            ]
        )
    head = [
        "songs",
        "cores",
        "PBS",
        "keys (s)",
        "encrypt (s)",
        "server (s)",
        *(["by Concrete (s)"] if beside else []),
        "decrypt (s)",
        "evaluation keys",
        "query",
        "response",
        "client memory",
        "server memory",
        "compile",
    ]
    rows = [row + ["-"] * (len(head) - len(row)) for row in rows]
    note = (
        " *By Concrete*: the server's seconds on the same queries if Concrete's own code "
        "multiplies, where Hushtune takes a matrix product with the same result."
    )
    return [
        "## Cost against catalogue size and cores\n",
        "The same network with **random weights** (cost depends on shape and bits), in real FHE; "
        "client, server and compiler each in a process of its own. Memory is each process's peak. "
        f"Keys are counted without an envelope.{_trained(report)}{note if beside else ''} "
        "Seconds differ by half with what else the machine does, so compare those of one table.\n",
        _table(head, rows),
        *_pictures(pictures, folder, {"cost.png": "Cost against catalogue size"}),
    ]


def _trained(report: Report) -> str:
    """How much larger the response of trained weights is."""
    protocol = report.protocols[0]
    for row in report.costs:
        if protocol.fhe_costs and row.error is None and row.songs == protocol.known_tracks:
            ratio = protocol.fhe_costs.response_bytes / row.response_bytes
            return (
                " Logits of trained weights reach further and need larger ciphertexts: their "
                f"response, above, is {ratio:.2f} times as large."
            )
    return ""


def _catalogue(report: Report) -> list[str]:
    parts = ["## The catalogue\n"]
    if report.skipped_tracks:
        parts.append(f"{report.skipped_tracks} tracks could not be used.\n")
    if report.duplicates:
        parts += [
            "Known tracks that share much of their sound, and can be taken for each other:\n",
            _table(
                ["track", "shares its landmarks with", "share"],
                [[_cell(d.first), _cell(d.second), f"{d.share:.0%}"] for d in report.duplicates],
            ),
        ]
    else:
        parts.append("No two known tracks share a tenth of their landmarks at one offset.\n")
    return parts


def replace_part(file: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two markers of a file.

    Args:
        file: UTF-8 text in which each marker stands once.
        begin: the first marker.
        end: the second one.
        text: whole lines.

    Raises:
        ConfigError: the file cannot be read or lacks the markers.
    """
    try:
        whole = file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise ConfigError(
            f"{file}: expected the two lines '{begin}' and '{end}', between which the table goes."
        )
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    write_atomically(file, f"{before}{begin}\n{text}{end}{after}".encode())
