"""Reports: one HTML file each, with everything inside."""

from darkconv.report.classification import write_classification_report
from darkconv.report.dissection import DissectionReport, write_dissection_report
from darkconv.report.evaluation import write_evaluation_report
from darkconv.report.profile import write_profile_report
from darkconv.report.verification import write_layer_report, write_output_report

__all__ = [
    "DissectionReport",
    "write_classification_report",
    "write_dissection_report",
    "write_evaluation_report",
    "write_layer_report",
    "write_output_report",
    "write_profile_report",
]
