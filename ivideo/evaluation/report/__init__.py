"""A protocol card and a few clips, as one page or one picture for people to look at."""

from ivideo.evaluation.report.clip import ShownClip
from ivideo.evaluation.report.page import write_page
from ivideo.evaluation.report.picture import write_picture

__all__ = ["ShownClip", "write_page", "write_picture"]
