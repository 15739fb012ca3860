"""``reasoning view``: look into a run in the browser, from a curve to the tokens, also while it goes on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic
from reasoning.report.console import say
from reasoning.viewer.export import exported
from reasoning.viewer.runs import RunsFolder
from reasoning.viewer.server import serve

_EPILOG = """\
examples:
  reasoning view runs/r1_tiny                       a page on this machine; Ctrl-C ends it
  reasoning view runs/r1_zero_clip                  a sweep: its arms as dots, and each of its runs
  reasoning view runs                               all runs of a folder, with their verdicts
  reasoning view runs/r1_tiny --at stage=zero       a stage of it; what follows # in an address names a view
  reasoning view runs/r1_tiny --port 8123           at a port of your choice, as for a tunnel by ssh -L
  reasoning view runs/r1_tiny --export run.html     one file to pass on, with the first of everything
"""


def main(arguments: Sequence[str]) -> int:
    """Serves the page until it is interrupted, or writes it, and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="reasoning view",
        description="Shows a run in the browser: a curve, the step, its groups, each completion with its rewards and "
        "verdicts, its tokens coloured by log-probability; an exam's problems with all checkpoints side by side. "
        "Filter, search, sort, and save what you chose. Only this machine, with the printed address, can open it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="the --out of a run or a sweep, or a folder of runs")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="on loopback (default: any that is free)")
    parser.add_argument("--at", default="", metavar="VIEW", help="what to show first, as in --at stage=zero")
    parser.add_argument("--export", default="", metavar="FILE.html", help="write one file and serve nothing")
    chosen = parsed(parser.parse_args, arguments)
    if not 0 <= chosen.port < 65536:
        raise InputError(f"--port {chosen.port} is no port; give 1 to 65535")
    folder = RunsFolder(Path(chosen.folder))
    several = folder.runs()
    if chosen.export:
        if several:
            raise InputError(f"{chosen.folder} is a folder of runs ({len(several)}); name one of them to export it")
        write_atomic(Path(chosen.export), exported(folder.answers({})))
        say(f"wrote {chosen.export}")
        return 0
    if not several:
        folder.answers({}).stages({})
    try:
        server, address = serve(folder, chosen.port)
    except OSError as error:
        raise InputError(
            f"port {chosen.port} can't be had ({error.strerror}); leave --port out, or name another"
        ) from None
    with server:
        say(f"{address}{f'#{chosen.at}' if chosen.at else ''} shows {chosen.folder}; Ctrl-C ends it")
        server.serve_forever()
    return 0
