"""Reports: one HTML file each, with everything inside."""

from darkconv.report.dissection import DissectionReport, write_dissection_report
from darkconv.report.profile import write_profile_report

__all__ = ["DissectionReport", "write_dissection_report", "write_profile_report"]
