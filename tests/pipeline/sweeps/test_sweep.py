import pytest

from reasoning.core.errors import InputError
from reasoning.pipeline import Sweep


def test_a_sweep_varies_in_at_most_one_way():
    varied = {"zero.rate": (0.1,)}
    for way in ("grid", "zip", "each"):
        sweep = Sweep(**{way: varied})
        assert sweep.way() == way and sweep.varied() == varied
    assert Sweep().way() == "seeds" and not Sweep().varied()
    with pytest.raises(InputError, match="grid and each exclude each other"):
        Sweep(grid=varied, each=varied)


def test_values_that_go_together_must_be_equally_many():
    with pytest.raises(InputError, match="'a.b' has 2, 'c' has 1"):
        Sweep(zip={"a.b": (1, 2), "c": (1,)})


@pytest.mark.parametrize("way", ["grid", "zip", "each"])
def test_a_setting_without_values_is_refused(way):
    with pytest.raises(InputError, match=rf"{way}\['a.b'\] lists no values"):
        Sweep(**{way: {"a.b": ()}})
