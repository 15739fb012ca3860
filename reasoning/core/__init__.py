"""Files that are whole or absent, hashes, meshes, random keys, intervals: what all packages need, and no model's."""
