"""python -m tests.mutation --minutes 10 'controller.re*'"""

import argparse
import os
import sys

from tests.mutation.judge import Judge
from tests.mutation.mutants import generate
from tests.mutation.report import report


def main() -> int:
    parser = argparse.ArgumentParser(prog="just mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", default=["*"], help="patterns of modules, such as 'kube.store'; else all")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of tests from other files than the module's own; 0: of none"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="after which the run ends; the next one goes on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--report", action="store_true", help="only tell what is known")
    options = parser.parse_args()
    modules = generate(options.modules)
    if not options.report:
        judge = Judge(modules, seconds=options.seconds, minutes=options.minutes, jobs=options.jobs)
        if (code := judge.run()) != 0:
            return code
    return report(modules)


if __name__ == "__main__":
    sys.exit(main())
