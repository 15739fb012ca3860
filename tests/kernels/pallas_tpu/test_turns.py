"""Cores that take turns: all is computed once, and no two write one place, nor read what another is writing."""

from itertools import product

import pytest

from reasoning.kernels.pallas_tpu.turns import Turns

SIZES = [(tokens, columns) for tokens in range(2, 6) for columns in range(2, 8)]


@pytest.mark.parametrize(("token_tiles", "column_tiles"), SIZES)
def test_each_tile_of_tokens_meets_each_tile_of_columns_once(token_tiles: int, column_tiles: int):
    turns = Turns(0, 0, token_tiles, column_tiles, cores=2)
    met, completed, written_by = [], {}, {}
    for turn in range(turns.count):
        places = []
        for core in range(2):
            steps, idle = (int(each) for each in turns.steps(turn, core))
            own = [v for v in range(turns.visits) if turns.is_own(turn, core, v)]
            assert steps == len(own) * turns.token_tiles_a_core
            assert not own or idle == own[0] * turns.token_tiles_a_core
            tiles = [turns.token_tile(turn, core, n) for n in range(turns.token_tiles_a_core)]
            for v, tile in product(own, tiles):
                assert turns.block(turn, core, v) == turns.column_tile(turn, core, v)
                if tile < token_tiles:
                    met.append((tile, turns.column_tile(turn, core, v)))
            # A result's block goes to HBM at the end of a turn, whatever it holds.
            written_by[int(turns.block(turn, core, 0))] = turn, 0 in own
            places.append({*tiles, *(("columns", int(turns.block(turn, core, v))) for v in range(2))})
            completed.update({int(turns.block(turn, core, v)): core for v in own if v == 0})
        assert not places[0] & places[1]
    assert sorted(met) == sorted(product(range(token_tiles), range(column_tiles)))
    assert sorted(completed) == list(range(column_tiles))
    assert all(whole for _, whole in written_by.values())
