import json
import os
import subprocess
import sys
import time

from launch.background import begin, end, log_of, remember, remember_end, state

WAITS = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_process_is_found_again_and_ended_with_all_that_it_began(tmp_path):
    record, log = tmp_path / "record.json", tmp_path / "log"
    begin(record, log, ("bash", "-c", 'sleep 60 & echo "$!"; wait'))
    while not log.read_text().strip():
        time.sleep(0.02)
    assert state(record).startswith("running as process") and log_of(record) == str(log)
    assert end(record, 10, group=True) and state(record) == "ended"
    assert subprocess.run(["ps", "-o", "stat=", "-p", log.read_text().strip()], capture_output=True).stdout[:1] in (
        b"",
        b"Z",
    )


def test_a_number_that_another_process_has_by_now_is_left_alone(tmp_path):
    record = tmp_path / "record.json"
    other = subprocess.Popen(WAITS)
    remember(record, other.pid, None)
    assert state(record) == f"running as process {other.pid}" and log_of(record) is None
    kept = json.loads(record.read_text())
    record.write_text(json.dumps(kept | {"began": kept["began"] + "0"}))
    assert state(record) == "ended" and end(record, 0, group=False) and other.poll() is None
    other.kill()
    other.wait()


def test_an_exit_status_is_kept_and_no_record_is_no_process(tmp_path):
    record = tmp_path / "record.json"
    assert end(record, 0, group=True)
    remember(record, os.getpid(), None)
    remember_end(record, 75)
    assert state(record).startswith("running")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": 2**22 + 1}))
    assert state(record) == "ended with exit status 75"
