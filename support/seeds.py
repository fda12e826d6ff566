"""The random streams: what else than a seed tells two uses of randomness apart.

`numpy.random.default_rng` takes a list of whole numbers. One of them is a stream, so that two uses
with the same seed draw different numbers. The values must stay: every split, example, clip and
published figure depends on them.
"""

from enum import IntEnum


class Stream(IntEnum):
    """What random numbers are for."""

    SPLIT = 1
    """Which artists are held out as unknown songs."""
    SOUND_GROUPS = 2
    """Which recordings train and which test."""
    SYNTHETIC_NOISE = 3
    SYNTHETIC_ROOM = 4
    EXAMPLES = 5
    """Training examples: tracks, crops, noise."""
    VALIDATION = 6
    NOISE_PIECES = 7
    CLIPS = 8
    """Test and calibration clips: piece, distortions."""
    COMPILER_INPUTS = 9
    """Which examples teach the compiler the ranges of values."""
    PROOF_CLIPS = 10
    """Which clips an export is proved on."""
    WRITTEN_CLIPS = 11
    """Which test clips are written as files."""
    BATCHES = 12
    """Which examples a step of training draws."""
    REFERENCES = 14
    """Renderings that the baselines learn from."""
    ENCRYPTED_SAMPLE = 15
    """Which test clips run under real FHE."""
    CATALOGUE_SIZES = 16
    """Which songs a smaller catalogue has."""
    MFCC_COMPILER_INPUTS = 17
    ENROLLED = 18
    """Which tracks are enrolled where not all are."""
    RENDERINGS = 19
    """How the encoder's music is rendered."""
    PAIRS = 20
    """Which clips and rows a step of the encoder's training sees."""
    JUDGED = 21
    """Which songs and clips judge an encoder."""
    CROPS = 22
    """Where the crops of a track lie that a network without hidden layers is fitted to."""
    SAMPLED = 23
    """Which tracks and crops show which features tell songs apart."""
