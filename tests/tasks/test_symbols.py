from reasoning.tasks.capitals import Capitals
from reasoning.tasks.chains import Chains
from reasoning.tasks.cups import Cups
from reasoning.tasks.symbols import Symbols


def test_the_units_of_all_tasks_come_once_each():
    tasks = (Chains(), Cups(), Capitals())
    together = Symbols(tasks)()
    assert len(together) == len(set(together))
    assert set(together) == {symbol for task in tasks for symbol in task.symbols}


def test_single_characters_can_be_left_out():
    assert Symbols((Chains(), Cups()), shortest=2)() == tuple(
        symbol for task in (Chains(), Cups()) for symbol in task.symbols if len(symbol) > 1
    )
