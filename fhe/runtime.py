"""What Concrete's runtime does to the process it runs in, undone.

Import this where FHE is executed.
"""

import atexit
import ctypes
import signal

import concrete.compiler

# Once FHE has run, this exit function ends the process with code 0, whatever the code was to be,
# and no exit function registered before it is called any more.
atexit.unregister(concrete.compiler._terminate_df_parallelization)


def ignore_broken_pipes() -> None:
    """Let writing to a closed socket raise an error again; call it after FHE has run.

    Running FHE sets SIGPIPE back from what Python sets, so that such a write ends the process.
    (`signal.signal` may be called from the main thread only, and FHE mostly runs in others.)
    """
    ctypes.CDLL(None).signal(signal.SIGPIPE, ctypes.c_void_p(signal.SIG_IGN))
