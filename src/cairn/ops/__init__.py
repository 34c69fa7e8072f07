"""Maths that two or more methods share: pure functions, shapes stated, sources cited."""
