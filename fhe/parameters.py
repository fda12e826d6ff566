"""The encryption parameters that a client accepts: a fixed list.

Whoever chooses the noise of an encryption can read what is encrypted, so nothing about it comes
from outside. An artifact names the *dimensions* of its keys; the noise that belongs to each is
written here, at 128 bits of security (see `hushtune.fhe.encryption`).

All keys are binary, all ciphertexts have 64-bit words. The list begins at a dimension whose noise
has a deviation of 2**-15 of the torus: Concrete draws noise from doubles, and much wider noise has
biased low bits. It is made by ``python -m hushtune.fhe.export.parameter_list``, which asks
Concrete's optimizer, and reviewed.
"""

VARIANCES: dict[int, float] = {
    704: 5.241861619145677e-10,
    736: 1.6765382874904187e-10,
    768: 5.362180144464418e-11,
    800: 1.715020534647514e-11,
    832: 5.485260388536257e-12,
    864: 1.7543860800610788e-12,
    896: 5.61116574218532e-13,
    928: 1.7946551984257635e-13,
    960: 5.739961051270313e-14,
    992: 1.8358486298092775e-14,
    1024: 5.871712650082723e-15,
    1056: 1.877987590334352e-15,
    1088: 6.006488395511213e-16,
    1120: 1.9210937831057481e-16,
    1152: 6.144357701990475e-17,
    1184: 1.965189409388221e-17,
    1216: 6.285391577252301e-18,
    1248: 2.0102971800409177e-18,
    1280: 6.429662658896972e-19,
    1312: 2.056440327214339e-19,
    1344: 6.577245251804337e-20,
    1376: 2.1036426163157127e-20,
    1408: 6.7282153664037696e-21,
    1440: 2.1519283582491323e-21,
    1472: 6.88265075782193e-22,
    1504: 2.201322421936436e-22,
    1536: 7.040630965929754e-23,
    1568: 2.2518502471256935e-23,
    1600: 7.20223735630833e-24,
    1632: 2.303537857493562e-24,
    1664: 7.367553162155073e-25,
    2048: 8.442253112932959e-31,
    2560: 4.70197740328915e-38,
    3072: 4.70197740328915e-38,
    4096: 4.70197740328915e-38,
    5120: 4.70197740328915e-38,
    6144: 4.70197740328915e-38,
    8192: 4.70197740328915e-38,
    16384: 4.70197740328915e-38,
    32768: 4.70197740328915e-38,
}
"""Noise variance, in units of the torus squared, for each dimension of a binary key."""
GLWE_SHAPES: tuple[tuple[int, int], ...] = (
    (3, 256),
    (4, 256),
    (5, 256),
    (6, 256),
    (2, 512),
    (3, 512),
    (4, 512),
    (5, 512),
    (6, 512),
    (1, 1024),
    (2, 1024),
    (3, 1024),
    (4, 1024),
    (5, 1024),
    (6, 1024),
    (1, 2048),
    (2, 2048),
    (3, 2048),
    (1, 4096),
    (2, 4096),
    (1, 8192),
    (2, 8192),
    (1, 16384),
    (2, 16384),
)
"""GLWE dimension and polynomial size of the keys under which bootstrapping computes."""
