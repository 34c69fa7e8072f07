"""What the laboratory sells to methods: sampling, forking, scoring, auxiliary models; every call is billed."""

from cairn.lab.services.models import Models
from cairn.lab.services.tabular import TabularServices

__all__ = ["Models", "TabularServices"]
