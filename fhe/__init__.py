"""From a trained network to encrypted answers: compiling, the artifact, client and server."""
