"""Records, statistics over seeds, the verdict rule, reports and the checklist audit. Never imports torch."""
