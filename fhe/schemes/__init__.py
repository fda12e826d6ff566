"""Encryption schemes, a module each."""
