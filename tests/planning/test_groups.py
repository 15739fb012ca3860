"""The first group of devices in each of the ways in which XLA writes groups."""

import pytest

from reasoning.planning.groups import first_group


@pytest.mark.parametrize(
    ("written", "group"),
    [
        ("replica_groups={{0,2},{1,3}}", (0, 2)),
        ("replica_groups={}", ()),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("source_target_pairs={{0,0},{1,2},{2,1}}", (1, 2)),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        # Devices 0 to 7 as rows of four, read by columns: [[0, 4], [1, 5], [2, 6], [3, 7]].
        ("replica_groups=mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}, dimensions={0}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'c'}, dimensions={0}", (0, 4)),
        ("dimensions={0}", ()),
    ],
)
def test_the_first_group_is_read_from_every_form(written, group):
    assert first_group(written) == group
