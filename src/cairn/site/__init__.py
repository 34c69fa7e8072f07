"""The site: pages, tables and charts made from the inventory and the evidence. Never imports torch.

`generate` writes Markdown, JSON, CSV and SVG; `build` also renders them.
"""

from cairn.site.writer import GENERATED, build, generate

__all__ = ["GENERATED", "build", "generate"]
