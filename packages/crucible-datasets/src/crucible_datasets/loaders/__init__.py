"""Parsers of official formats, one file each."""
