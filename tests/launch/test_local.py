import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_launcher_becomes_the_program():
    program = "import os; print(os.getpid()); raise SystemExit(6)"
    launcher = (
        f"import os; from launch.local import become; print(os.getpid()); become({[sys.executable, '-c', program]})"
    )
    done = subprocess.run([sys.executable, "-c", launcher], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    before, after = done.stdout.split()
    assert before == after
    assert done.returncode == 6
