import errno
import logging

import pytest

from reasoning.training.storage_errors import plain_errors


def test_what_the_disk_refused_keeps_its_number_and_other_errors_stay_what_they_are():
    before = list(logging.getLogger("absl").filters)
    with plain_errors():
        pass
    assert logging.getLogger("absl").filters == before
    with pytest.raises(OSError, match="No space left") as failure, plain_errors():
        raise ValueError("RESOURCE_EXHAUSTED: writing [source locations='x', os_error_code='28']")
    assert failure.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="of another kind"), plain_errors():
        raise ValueError("of another kind")
