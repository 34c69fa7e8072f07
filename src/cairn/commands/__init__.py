"""The commands of `cairn`, a module for each group. Nothing but `cairn.cli` imports them.

Only what a command needs is imported, and only when it runs: what reads data works without torch, and at once.
"""
