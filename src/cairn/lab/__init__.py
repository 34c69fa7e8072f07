"""The laboratory: tasks, small models, the one training loop, services with their ledger, exact credit, the runner."""
