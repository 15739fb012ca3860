"""One experiment with some settings changed, over several seeds: its arms, its folder, its runs."""
