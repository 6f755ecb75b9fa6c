"""`kuik policy test`: the cases that are kept beside policies."""

import posixpath
import sys
from pathlib import Path

import click

from kuik.cases.run import failures, read
from kuik.local.documents import ManifestError
from kuik.plan.tree import CASES, Disk, policies_in


@click.command("test", epilog="Example: kuik policy test policies/")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(exists=True, file_okay=False))
def test_(folder: str) -> None:
    """Run the cases of policies: every cases.yaml below DIR, against the policies in its folder.

    A case names a `reason`, the `objects` of a cluster, and in `expect` what is decided of each of their images: Cache
    or Ignore; `retention` and `refresh` what an inventory says of some of them. Exits with 1 where a case fails, or
    where there is none.
    """
    tree = Disk()
    count = failed = 0
    try:
        for file in (one for one in tree.files(folder) if posixpath.basename(one) == CASES):
            beside = posixpath.dirname(file) or "."
            policies = policies_in(tree, beside, whole=True)
            for case in read(tree.read(file), tree.origin(file)):
                wrong = failures(case, policies)
                count, failed = count + 1, failed + bool(wrong)
                click.echo(f"{'FAIL' if wrong else 'ok':<5} {Path(beside).name}: {case.reason}")
                for why in wrong:
                    click.echo(f"      {why}")
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if not count:
        raise click.ClickException(f"there is no {CASES} below {folder}")
    click.echo(f"{count - failed} of {count} cases are as expected", err=True)
    sys.exit(1 if failed else 0)
