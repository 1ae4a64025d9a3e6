"""The manifest for Kubernetes: its schema, what it says to the daemon, and the directory that a kubelet makes."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from harness import ROOT, WAIT_S, Daemon, DaemonCase, Peer, environment, run

import yaml

MANIFEST = ROOT / "config" / "packaging" / "kubernetes.yaml"
IS_ROOT = os.geteuid() == 0


def pod():
    return yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]


def sidecar():
    return pod()["initContainers"][0]


def variables(container):
    return {variable["name"]: variable["value"] for variable in container["env"]}


class TestKubernetesManifest(DaemonCase):
    def decoded(self, text):
        """What comes out of Kubernetes's own types, which drop fields that they do not know; with another image, as it says
        nothing where nothing changes."""
        path = self.directory() / "manifest.yaml"
        path.write_text(text)
        done = subprocess.run(["kubectl", "set", "image", "--local", "--filename", path, "--output=json", "service=changed:1"],
                              env=environment(HOME=str(path.parent)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=WAIT_S)
        self.assertEqual(done.returncode, 0, done.stdout)
        return json.loads(done.stdout)

    @unittest.skipUnless(shutil.which("kubectl"), "there is no kubectl here")
    def test_kubernetes_knows_every_field(self):
        text = MANIFEST.read_text()
        self.must_have(self.decoded(text), yaml.safe_load(text.replace("inference:1", "changed:1")), "")
        for right, wrong in (("periodSeconds: 1\n", "periodSecond: 1\n"), ("failureThreshold: 30", "failureThreshold: many"),
                             ("restartPolicy: Always", "restartPolice: Always"), ("fsGroup:", "fsgroups:")):
            mistaken = text.replace(right, wrong, 1)
            self.assertNotEqual(mistaken, text)
            with self.subTest(wrong), self.assertRaises(AssertionError):
                self.must_have(self.decoded(mistaken), yaml.safe_load(mistaken.replace("inference:1", "changed:1")), "")

    def must_have(self, found, wanted, where):
        if isinstance(wanted, dict):
            for key in wanted:
                self.assertIn(key, found, where)
                self.must_have(found[key], wanted[key], f"{where}.{key}")
        elif isinstance(wanted, list):
            self.assertEqual(len(found), len(wanted), where)
            for at, each in enumerate(wanted):
                self.must_have(found[at], each, f"{where}[{at}]")
        else:
            self.assertEqual(found, wanted, where)

    def test_kubernetes_sidecar_is_a_native_one(self):
        self.assertEqual(sidecar()["restartPolicy"], "Always")

    def test_kubernetes_both_containers_mean_the_same_place(self):
        service = pod()["containers"][0]
        place = pathlib.PurePath(variables(sidecar())["DWELL_DIR"])
        self.assertEqual(variables(service)["DWELL_DIR"], str(place))
        for container in (sidecar(), service):
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            self.assertEqual(mounted, {"dwell": str(place.parent)})

    def test_kubernetes_tells_the_daemon_what_it_understands(self):
        done = run("--print-config", *sidecar()["args"], env=variables(sidecar()))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        configuration = json.loads(done.stdout)
        self.assertEqual(configuration["ingest"]["group"], str(pod()["securityContext"]["fsGroup"]))
        self.assertEqual(configuration["http"]["listen"], f"0.0.0.0:{sidecar()['ports'][0]['containerPort']}")
        self.assertGreater(pod()["terminationGracePeriodSeconds"] * 1000, 2 * configuration["shutdown"]["timeout_ms"])

    def test_kubernetes_asks_for_what_answers(self):
        daemon = self.start()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(daemon.get(sidecar()[probe]["httpGet"]["path"]).status, 200)

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_kubernetes_directory_of_a_volume(self):
        """As a kubelet makes it: everybody's, of the pod's group, which all that is made in it gets."""
        group = pod()["securityContext"]["fsGroup"]
        user = sidecar()["securityContext"]["runAsUser"]
        volume = self.directory()
        os.chown(volume, 0, group)
        volume.chmod(0o2777)
        daemon = Daemon(*sidecar()["args"], env={"DWELL_DIR": str(volume / "sockets")}, place=False, user=user,
                        group=sidecar()["securityContext"]["runAsGroup"], extra_groups=[group])
        self.addCleanup(daemon.stop)
        pid = os.fork()
        if pid == 0:
            os.setgroups([group])
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
            with Peer(daemon.ingest) as peer:
                os._exit(peer.records({"model_name": "m", "execution_time_ms": 1}).flush() - 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(set(daemon.models()), {"m"})

    def test_kubernetes_directory_of_a_volume_without_a_group(self):
        volume = self.directory()
        volume.chmod(0o2777)
        daemon = self.start(env={"DWELL_DIR": str(volume / "sockets")}, place=False)
        self.assertEqual(daemon.directory.stat().st_mode & 0o7777, 0o700)


if __name__ == "__main__":
    unittest.main()
