"""Carries out a Dockerfile by hand: each stage in a clean root, in the order that it is written in.

It knows what ours uses: FROM … AS, WORKDIR, COPY of the tree or of another stage, RUN, USER, ENV, and what is only said
of the image. Anything else is an error, so that no step goes unnoticed.
"""
import fnmatch
import glob
import json
import re
import shlex
import shutil
import subprocess

from clean_root import ROOT, CleanRoot


def steps(text):
    """[(INSTRUCTION, rest)], comments left out and lines that go on put together."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    text = re.sub(r"\\\n\s*", " ", text)
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def context():
    """What `docker build .` sends: the tree as git knows it, without what .dockerignore names."""
    ignored = [line.strip("/") for line in (ROOT / ".dockerignore").read_text().split()]
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout.split("\0")
    return [name for name in listed
            if name and (ROOT / name).exists() and not any(fnmatch.fnmatch(name.split("/")[0], each) for each in ignored)]


class Image:
    """The last stage, with what the file says of it."""

    def __init__(self, text):
        self.stages = {}
        self.said = {}
        self.root = None
        try:
            for instruction, rest in steps(text):
                getattr(self, "_" + instruction.lower())(rest)
        except BaseException:
            self.close()
            raise

    def close(self):
        for root in self.stages.values():
            root.close()

    def run(self, *words, **more):
        """As the image's user in its environment."""
        return self.root.run(*words, user=self.user, **{**self.environment, **more})

    def start(self, *words):
        return self.root.start(*self.entrypoint, *words, user=self.user, **self.environment)

    def _from(self, rest):
        base, _, name = rest.partition(" AS ")
        assert re.fullmatch(r"debian:(\w+)-slim", base), base
        self.root = self.stages[name] = CleanRoot()
        self.place, self.user, self.environment = "/", "", {}

    def _workdir(self, rest):
        self.place = rest
        (self.root.path / rest.strip("/")).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest):
        found = re.fullmatch(r"(?:--from=(\w+) )?(\S+) (\S+)", rest)
        stage, source, target = found.groups()
        if stage is None:
            assert (source, target) == (".", "."), rest
            for name in context():
                path = self.root.path / self.place.strip("/") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, path, follow_symlinks=False)
            return
        copied = glob.glob(f"{self.stages[stage].path}{source}")
        assert copied, f"COPY {rest}: there is nothing"
        for path in copied:
            shutil.copy2(path, self.root.path / target.strip("/"))

    def _run(self, rest):
        self.root.run("sh", "-c", f"cd {shlex.quote(self.place)} && {rest}", user=self.user, **self.environment)

    def _user(self, rest):
        self.user = rest

    def _env(self, rest):
        self.environment.update(pair.split("=", 1) for pair in shlex.split(rest))

    def _entrypoint(self, rest):
        self.entrypoint = json.loads(rest)

    def _healthcheck(self, rest):
        self.healthcheck = json.loads(rest[rest.index("["):])

    def _volume(self, rest):
        self.said["volume"] = rest

    def _expose(self, rest):
        self.said["port"] = int(rest)
