from reasoning.experiment.nodes import ConstantRead, Definition
from reasoning.experiment.nodes import read_constants as constants_of
from reasoning.experiment.syntax import parse_file


def test_constants_are_found_at_any_depth_and_only_where_they_are_read():
    (line,) = parse_file("x = (%a, {'k': [%b, 'percent %c']}, d, @m.e, 1)  # %f", "f")
    assert isinstance(line, Definition)
    assert list(constants_of(line.value)) == ["a", "b"]


def test_a_value_that_is_a_constant_reads_it():
    (line,) = parse_file("x = %a", "f")
    assert isinstance(line, Definition) and isinstance(line.value, ConstantRead)
    assert list(constants_of(line.value)) == ["a"]
