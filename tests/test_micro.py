"""The small networks of the C program's own numbers that travel with the project.

The tests are those of tests/reference/test_micro.py, on the copy in tests/data.
"""

import pytest

from networks import MICRO
from reference.collection import Case, has_detections
from reference.test_micro import (
    test_a_batch_is_its_inputs_one_by_one,
    test_arrays_and_shapes_are_those_of_c,
    test_arrays_come_back_from_torch_bit_for_bit,
    test_detections_are_those_of_c,
    test_every_layer_has_the_numbers_of_c,
    test_files_are_written_byte_for_byte,
)

__all__ = [
    "test_a_batch_is_its_inputs_one_by_one",
    "test_arrays_and_shapes_are_those_of_c",
    "test_arrays_come_back_from_torch_bit_for_bit",
    "test_detections_are_those_of_c",
    "test_every_layer_has_the_numbers_of_c",
    "test_files_are_written_byte_for_byte",
]

BOXES = [*filter(has_detections, MICRO)]


@pytest.fixture(scope="module", params=MICRO, ids=lambda folder: folder.name)
def micro_case(request):
    return Case(request.param, request.param / "net.weights")


@pytest.fixture(scope="module", params=BOXES, ids=lambda folder: folder.name)
def boxes_case(request):
    return Case(request.param, request.param / "net.weights")
