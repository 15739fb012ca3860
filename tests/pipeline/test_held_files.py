"""The files of a stage at work, held as they stand."""

import hashlib

from reasoning.pipeline.held_files import hash_start, hold, sizes_of


def test_what_is_held_stays_as_it_was_when_the_stage_goes_on(tmp_path):
    partial, held = tmp_path / ".base.partial", tmp_path / "held"
    for name, text in (("checkpoints/3/weights", "three"), ("metrics.jsonl", "a line"), (".hidden", "")):
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text(text)
    (partial / "checkpoints" / "4.partial").mkdir()
    stamps = hold(partial, held, ())
    assert stamps == sizes_of(held) and set(stamps) == {"checkpoints/3/weights", "metrics.jsonl"}
    (partial / "checkpoints/3/weights").unlink()
    with open(partial / "metrics.jsonl", "a") as file:
        file.write(" more")
    assert (held / "checkpoints/3/weights").read_text() == "three"
    assert hash_start(held / "metrics.jsonl", stamps["metrics.jsonl"][0]) == hashlib.sha256(b"a line").hexdigest()


def test_what_is_known_is_noted_and_not_held(tmp_path):
    partial, held = tmp_path / "partial", tmp_path / "held"
    partial.mkdir()
    (partial / "one").write_text("one")
    (partial / "other").write_text("other")
    [(path, stamp)] = [(path, stamp) for path, stamp in sizes_of(partial).items() if path == "one"]
    assert set(hold(partial, held, {(path, stamp)})) == {"one", "other"}
    assert [path.name for path in held.iterdir()] == ["other"]
