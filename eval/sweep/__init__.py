"""Sweeps: variants of a configuration, each trained, compiled and measured."""
