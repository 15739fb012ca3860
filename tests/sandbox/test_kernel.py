import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def said(program: str) -> str:
    """What a program prints that may give up its own rights."""
    lines = f"import os, platform; from reasoning.sandbox import kernel\n{program}"
    return subprocess.run([sys.executable, "-c", lines], cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()


def test_rules_confine_to_what_they_grant(tmp_path):
    (tmp_path / "seen").write_text("seen")
    program = f"""
rules = kernel.landlock_rules(kernel.landlock_version(), [({str(tmp_path)!r}, kernel.READ_FILE | kernel.READ_FOLDER)])
kernel.no_new_privileges()
kernel.restrict_to(rules)
print(open({str(tmp_path / "seen")!r}).read())
for path, mode in (({str(tmp_path / "seen")!r}, "w"), ("/etc/passwd", "r")):
    try:
        open(path, mode)
    except PermissionError:
        print("refused")
"""
    assert said(program).split() == ["seen", "refused", "refused"]


def test_limits_are_never_raised():
    program = """
import resource
kernel.set_limits([(resource.RLIMIT_NOFILE, 50)])
kernel.set_limits([(resource.RLIMIT_NOFILE, 60)])
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 60
    assert said(program) == "(50, 50)"


@pytest.mark.skipif(os.getuid() != 0, reason="only root has what is given up here")
def test_root_without_capabilities_may_not_give_files_away(tmp_path):
    program = f"""
kernel.drop_capabilities(platform.machine())
try:
    os.chown({str(tmp_path)!r}, 1, 1)
except PermissionError:
    print("refused")
"""
    assert said(program) == "refused"
