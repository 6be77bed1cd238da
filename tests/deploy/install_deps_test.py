#!/usr/bin/env python3
"""scripts/install_deps.sh with dpkg-query and apt-get replaced: what it asks of them, and when.

Usage: install_deps_test.py SOURCE_DIR
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
SCRIPT = SOURCE / "scripts/install_deps.sh"

# Knows the packages named in the file `installed`, like the real one: exit 1 if any is unknown.
DPKG_QUERY = r"""#!/bin/bash
status=0
for package in "${@:4}"; do
  if grep -qxF "$package" "$STUBS/installed"; then echo "$package=installed"
  elif grep -qxF "$package" "$STUBS/removed"; then echo "$package=config-files"
  else status=1; fi
done
exit $status
"""
APT_GET = r"""#!/bin/bash
echo "$*" >> "$STUBS/calls"
"""
# Everything that needs root is recorded, nothing of it happens.
SUDO = r"""#!/bin/bash
case "$*" in *apt-get*) "$@" ;; *) echo "$*" >> "$STUBS/root_calls"; cat >/dev/null ;; esac
"""
ID = "#!/bin/bash\necho 1000\n"


class InstallDepsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.stubs = pathlib.Path(folder.name)
        self.policy = self.stubs / "policy-rc.d"
        stubs = {"dpkg-query": DPKG_QUERY, "apt-get": APT_GET, "sudo": SUDO, "id": ID}
        for name, text in stubs.items():
            self.write_stub(name, text)
        for name in ("installed", "removed", "calls", "root_calls"):
            (self.stubs / name).touch()

    def write_stub(self, name, text):
        path = self.stubs / name
        path.write_text(text)
        path.chmod(0o755)

    def run_script(self, *arguments, path=None):
        environment = {"PATH": path or f"{self.stubs}:/usr/bin:/bin", "STUBS": str(self.stubs),
                       "SKIPSTONE_POLICY_RC_D": str(self.policy)}
        return subprocess.run(["/bin/bash", SCRIPT, *arguments], env=environment,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def calls(self):
        return (self.stubs / "calls").read_text().splitlines()

    def wanted(self, package_set):
        """The packages of a set: what is installed where none is there."""
        (self.stubs / "calls").write_text("")
        (self.stubs / "installed").write_text("")
        self.assertEqual(self.run_script(package_set).returncode, 0)
        install = [call for call in self.calls() if " install " in call]
        self.assertEqual(len(install), 1)
        (self.stubs / "calls").write_text("")
        return install[0].split("--no-install-recommends ")[1].split()

    def test_nothing_missing_means_no_apt_at_all(self):
        for package_set in ("build", "test", "runtime"):
            packages = self.wanted(package_set)
            (self.stubs / "installed").write_text("\n".join(packages))
            self.assertEqual(self.run_script(package_set).returncode, 0)
            self.assertEqual(self.calls(), [], package_set)

    def test_installs_only_what_is_missing_after_one_update(self):
        packages = self.wanted("build")
        (self.stubs / "installed").write_text("\n".join(packages[2:]))
        self.assertEqual(self.run_script().returncode, 0)
        update, install = self.calls()
        self.assertTrue(update.endswith(" update"), update)
        self.assertEqual(install.split("--no-install-recommends ")[1].split(), packages[:2])

    def test_a_removed_package_with_configuration_left_counts_as_missing(self):
        packages = self.wanted("runtime")
        (self.stubs / "installed").write_text("\n".join(packages[1:]))
        (self.stubs / "removed").write_text(packages[0])
        self.assertEqual(self.run_script("runtime").returncode, 0)
        self.assertTrue(self.calls()[-1].endswith(" " + packages[0]), self.calls())

    def test_test_is_build_and_more_and_runtime_has_no_compiler(self):
        build, test, runtime = (set(self.wanted(s)) for s in ("build", "test", "runtime"))
        self.assertLess(build, test)
        self.assertIn("prometheus", test)
        self.assertFalse([p for p in runtime if p.endswith("-dev") or p == "g++"])

    def test_daemons_are_forbidden_during_the_installation_and_the_policy_goes_away(self):
        self.wanted("test")
        root_calls = (self.stubs / "root_calls").read_text().splitlines()
        self.assertEqual(root_calls[0], f"tee {self.policy}")
        self.assertEqual(root_calls[-1], f"rm -f {self.policy}")

    def test_a_policy_of_the_machine_stays(self):
        self.policy.touch()
        self.wanted("test")
        self.assertEqual((self.stubs / "root_calls").read_text(), "")

    def test_a_failing_installation_fails_the_script(self):
        self.write_stub("apt-get", APT_GET + 'case "$*" in *install*) exit 100 ;; esac\n')
        self.assertEqual(self.run_script("build").returncode, 100)

    def test_another_system_gets_the_list_and_an_error(self):
        tools = self.stubs / "tools"
        tools.mkdir()
        for name in ("id", "grep"):
            (tools / name).symlink_to(shutil.which(name))
        result = self.run_script("build", path=str(tools))
        self.assertEqual(result.returncode, 1)
        self.assertIn("needs Debian 12", result.stderr)
        self.assertIn("libgrpc++-dev", result.stderr)

    def test_an_unknown_set_is_an_error_that_lists_the_sets(self):
        result = self.run_script("all")
        self.assertEqual(result.returncode, 1)
        self.assertIn("[build|runtime|test]", result.stderr)


if __name__ == "__main__":
    unittest.main()
