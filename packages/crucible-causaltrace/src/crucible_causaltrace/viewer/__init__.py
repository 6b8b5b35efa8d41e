"""A chain as one HTML page that needs no network."""

from crucible_causaltrace.viewer.page import open_visualization, render_html

__all__ = ["open_visualization", "render_html"]
