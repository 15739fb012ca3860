import marshal
import os

import pytest

from reasoning.sandbox import launching


def test_what_is_given_can_not_be_changed():
    place = launching.sealed(b"abc")
    try:
        assert os.read(place, 10) == b"abc"
        with pytest.raises(PermissionError):
            os.write(place, b"d")
        with pytest.raises(PermissionError):
            os.ftruncate(place, 1 << 30)
    finally:
        os.close(place)


def test_a_package_holds_its_modules_and_arguments():
    place = launching.packaged("call", "source", "f", [1])
    with open(place, "rb") as package:
        modules, arguments = marshal.load(package)
    assert [name.rpartition(".")[2] for name, _ in modules] == ["encoding", "call"]
    assert arguments == ("source", "f", [1])


def test_folders_of_dead_supervisors_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(launching.tempfile, "tempdir", str(tmp_path))
    own = launching.new_folder()
    others = [
        tmp_path / "reasoning-sandbox-999999999-old",
        tmp_path / "reasoning-sandbox-999999999-new",
        tmp_path / "x",
    ]
    for path in others:
        path.mkdir()
    for path in (own, others[0], others[2]):
        os.utime(path, (0, 0))
    launching.remove_stale_folders()
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(own), others[1].name, "x"])
