"""From audio to spectrum to logits: what the client and the training share, and the network."""
