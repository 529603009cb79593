"""Radiance fields and what shapes them from text."""
