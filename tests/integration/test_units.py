"""The units in systemd/, as systemd's own tools judge them. That they work is test_systemd's."""
import json
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import BUILD, DWELLD, ROOT, WAIT_S, DaemonCase, environment

UNITS = ROOT / "systemd"
SERVICES = ("dwelld.service", "dwelld@.service")
EXPOSED_AT_MOST = 1.5
INSTALL_S = 300  # of which it takes one, unless something has to be built anew


def tool(name):
    return unittest.skipUnless(shutil.which(name), f"there is no {name} here")


def call(*command, **options):
    return subprocess.run(command, env=environment(SYSTEMD_LOG_TARGET="console", SYSTEMD_COLORS="0"), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S, **options)


def settings(name):
    """{section: [lines]} of a unit, comments left out."""
    found = {}
    for line in (UNITS / name).read_text().splitlines():
        if section := re.fullmatch(r"\[(\w+)\]", line):
            lines = found.setdefault(section.group(1), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def head(name):
    """What a unit says of itself in its first comment."""
    return (UNITS / name).read_text().split("\n\n[Unit]")[0]


class TestUnitsVerified(DaemonCase):
    def place(self):
        """The units with the daemon that was built, as they would be installed."""
        directory = self.directory()
        for unit in UNITS.glob("dwelld*"):
            (directory / unit.name).write_text(unit.read_text().replace("/usr/bin/dwelld", str(DWELLD)))
        return directory

    @tool("systemd-analyze")
    def test_units_are_understood(self):
        directory = self.place()
        for name in ("dwelld.service", "dwelld@root.service", "dwelld.socket"):
            with self.subTest(name):
                done = call("systemd-analyze", "verify", "--man=no", directory / name)
                said = [line for line in done.stdout.splitlines() if "dwelld" in line]
                self.assertEqual(said, [])
                self.assertEqual(done.returncode, 0, done.stdout)

    @tool("systemd-analyze")
    def test_units_that_are_wrong_would_be_noticed(self):
        directory = self.place()
        path = directory / "dwelld.service"
        for right, wrong, says in (("WatchdogSec=30s", "WatchdogSec=soon", "sec value, ignoring: soon"), ("Type=notify", "Typ=notify", "'Typ'"),
                                   (str(DWELLD), "/nowhere/dwelld", "/nowhere/dwelld")):
            with self.subTest(wrong):
                text = path.read_text()
                path.write_text(text.replace(right, wrong, 1))
                self.assertIn(says, call("systemd-analyze", "verify", "--man=no", path).stdout)
                path.write_text(text)


class TestUnitsExposure(unittest.TestCase):
    def judge(self, path, *how):
        done = call("systemd-analyze", "security", "--offline=true", "--no-pager", *how, path)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    @tool("systemd-analyze")
    def test_units_are_exposed_little(self):
        for name in SERVICES:
            with self.subTest(name):
                overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", self.judge(UNITS / name))
                self.assertLessEqual(float(overall.group(1)), EXPOSED_AT_MOST)

    @tool("systemd-analyze")
    def test_units_explain_what_still_counts(self):
        """Each setting that adds to the exposure is named at the beginning of the unit, and no other."""
        explained = {"dwelld.service": head("dwelld.service"), "dwelld@.service": head("dwelld.service") + head("dwelld@.service")}
        for name in SERVICES:
            rows = json.loads(self.judge(UNITS / name, "--json=short"))
            counted = {re.split(r"_|Or", row["json_field"])[0] for row in rows if row["exposure"] not in (None, "0.0")}
            told = set(re.findall(r"\b[A-Z]\w+\b", "\n".join(re.findall(r"^#   (\S+(?:, \S+)*)  ", explained[name], re.M))))
            self.assertEqual(told, counted, name)


class TestUnitsAgree(unittest.TestCase):
    DIFFERENT = {"Description", "User", "Group", "EnvironmentFile", "RuntimeDirectory", "RuntimeDirectoryMode",
                 "RuntimeDirectoryPreserve", "StateDirectory", "ProtectProc", "ProcSubset", "Also"}

    def test_units_of_both_services_are_the_same_otherwise(self):
        """As one of them says: what is mended in one is mended in the other."""
        one, other = (settings(name) for name in SERVICES)
        for section in one:
            different = set(one[section]) ^ set(other[section])
            self.assertLessEqual({line.split("=")[0] for line in different} - self.DIFFERENT,
                                 {"Environment"}, section)
        self.assertIn("Environment=DWELL_HTTP_LISTEN=127.0.0.1:0", other["Service"])

    def test_units_say_twice_how_many_sockets_are_kept(self):
        for name in SERVICES:
            said = {line for line in settings(name)["Service"] if "FileDescriptorStoreMax" in line or "FDSTORE" in line}
            self.assertEqual(said, {"FileDescriptorStoreMax=8", "Environment=FDSTORE=8"})

    def test_units_do_not_repeat_a_wrong_start(self):
        """The exit statuses that the README calls wrong arguments and wrong configuration."""
        readme = (ROOT / "README.md").read_text()
        wrong = re.findall(r"^\| (\d+) \| wrong ", readme, re.M)
        for name in SERVICES:
            self.assertIn(f"RestartPreventExitStatus={' '.join(wrong)}", settings(name)["Service"])

    def test_units_socket_is_of_the_same_user_and_directory(self):
        socket, service = settings("dwelld.socket")["Socket"], settings("dwelld.service")["Service"]
        paths = [pathlib.Path(line.split("=")[1]) for line in socket if line.startswith("Listen")]
        self.assertEqual([path.name for path in paths], ["ingest.sock", "ingest.dgram", "query.sock"])
        self.assertEqual({str(path.parent) for path in paths}, {"/run/dwell"})
        self.assertIn("RuntimeDirectory=dwell", service)
        for kind in ("User", "Group"):
            self.assertIn(f"Socket{kind}=dwell", socket)
            self.assertIn(f"{kind}=dwell", service)


class TestUnitsFiles(DaemonCase):
    """In a root of their own."""

    def setUp(self):
        self.root = self.directory()
        (self.root / "etc").mkdir()

    @tool("systemd-sysusers")
    def test_units_user_is_made(self):
        done = call("systemd-sysusers", f"--root={self.root}", UNITS / "sysusers.conf")
        self.assertEqual(done.returncode, 0, done.stdout)
        user = next(line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines() if line.startswith("dwell:"))
        self.assertEqual(user[4:], ["dwell telemetry", "/", "/usr/sbin/nologin"])
        self.assertIn(f"dwell:x:{user[3]}:", (self.root / "etc/group").read_text())

    @tool("systemd-tmpfiles")
    def test_units_directory_is_made(self):
        (self.root / "etc/passwd").write_text("dwell:x:54321:54321:::\n")
        (self.root / "etc/group").write_text("dwell:x:54321:\n")
        done = call("systemd-tmpfiles", "--create", f"--root={self.root}", UNITS / "tmpfiles.conf")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        made = (self.root / "run/dwell").stat()
        self.assertEqual((made.st_mode & 0o7777, made.st_uid, made.st_gid), (0o750, 54321, 54321))


@unittest.skipUnless(BUILD == ROOT / "build", "make would build with other flags")
class TestUnitsInstalled(DaemonCase):
    def make(self, target, root, **variables):
        clean = {name: value for name, value in environment().items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
        done = subprocess.run(["make", "-s", target, f"DESTDIR={root}", *(f"{name}={value}" for name, value in variables.items())],
                              cwd=ROOT, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=INSTALL_S)
        self.assertEqual(done.returncode, 0, done.stdout)

    def files(self, root):
        return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}

    def must_install(self, root, prefix, etc, **variables):
        self.make("install", root, **variables)
        units = root / prefix / "lib/systemd/system"
        for name in SERVICES:
            self.assertIn(f"\nExecStart=/{prefix}/bin/dwelld --config /{etc}/dwell/dwelld.json\n", (units / name).read_text())
        for path in (f"{prefix}/bin/dwelld", f"{etc}/dwell/dwelld.json"):
            self.assertTrue((root / path).is_file(), path)
        self.assertEqual((units / "dwelld.socket").read_text(), (UNITS / "dwelld.socket").read_text())

    def test_units_are_installed_and_go_again(self):
        root = self.directory()
        self.must_install(root, "usr/local", "etc")
        self.assertEqual(json.loads((root / "etc/dwell/dwelld.json").read_text()), {})
        self.make("uninstall", root)
        self.assertEqual(self.files(root), set())

    def test_units_are_installed_for_their_prefix(self):
        """And a configuration that somebody has written stays, whatever comes and goes."""
        root = self.directory()
        path = root / "opt/d/etc/dwell/dwelld.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"log": {"level": "debug"}}')
        elsewhere = {"PREFIX": "/opt/d", "SYSCONFDIR": "/opt/d/etc"}
        self.must_install(root, "opt/d", "opt/d/etc", **elsewhere)
        self.make("uninstall", root, **elsewhere)
        self.assertEqual(path.read_text(), '{"log": {"level": "debug"}}')
        self.assertEqual(self.files(root), {str(path.relative_to(root))})


if __name__ == "__main__":
    unittest.main()
