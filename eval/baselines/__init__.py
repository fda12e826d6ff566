"""Recognizers to compare with: the bounty winner's kind, and landmark hashes."""
