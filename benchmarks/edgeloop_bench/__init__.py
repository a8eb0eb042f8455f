"""Honest measuring of artifacts."""
