"""Wheels that tests use and that no package of the distribution has: pinned, with hashes, and kept
in the build folder."""
import pathlib
import re
import subprocess
import sys
import tempfile

import deploy_support as support


def install(folder, *arguments):
    """What pip says where it fails, else None. All of `folder` is there, or nothing."""
    folder = pathlib.Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as unfinished:
        target = pathlib.Path(unfinished) / "wheels"
        answer = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--retries=1", "--no-deps",
             "--only-binary=:all:", f"--target={target}", *arguments],
            capture_output=True, text=True)
        if answer.returncode != 0:
            return answer.stderr.strip()[-500:]
        try:
            target.rename(folder)
        except OSError:  # another test was faster
            if not folder.exists():
                raise
    return None


def need_wheels(name, build):
    """BUILD/NAME-VERSION with what NAME_requirements.txt lists, by the version in its first line."""
    requirements = pathlib.Path(__file__).with_name(f"{name}_requirements.txt")
    pin = re.search(r"==(\S+)", requirements.read_text())[1]
    folder = pathlib.Path(build) / f"{name}-{pin}"
    if not folder.exists():
        failed = install(folder, "--require-hashes", f"--requirement={requirements}")
        if failed:
            support.skip(f"pip cannot install {name} {pin} here: {failed}")
    return folder
