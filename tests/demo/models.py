"""The demo's models: two that read digits, trained on the spot, and one that only waits."""

import os
import socket
import threading
import time

# One thread for each process, so that the time of the thread is the time of the inference.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

UPSTREAM_MS = 12


class Digits:
    """Two classifiers of handwritten digits, and the images to try them on."""

    def __init__(self):
        from sklearn.datasets import load_digits
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        train, self.images, train_labels, self.labels = train_test_split(
            images / 16, labels, test_size=0.5, random_state=1)
        self.models = {
            "digits-logistic": LogisticRegression(max_iter=300),
            "digits-forest": RandomForestClassifier(n_estimators=60, n_jobs=1, random_state=1),
        }
        for model in self.models.values():
            model.fit(train, train_labels)

    def run(self, client, part, seconds):
        """Classifies every second image, one at a time. Gives how many were right, of how many."""
        right = count = 0
        end = time.perf_counter() + seconds
        at = part
        while time.perf_counter() < end:
            image, label = self.images[at:at + 1], self.labels[at]
            for name, model in self.models.items():
                right += client.track(name, model.predict, image)[0] == label
                count += 1
            at = (at + 2) % (len(self.images) - 1)
        return int(right), count


class Remote:
    """A model behind a socket: what is here only sends the question and waits."""

    def __init__(self):
        self.socket, upstream = socket.socketpair()
        threading.Thread(target=self.answer, args=(upstream,), daemon=True).start()

    @staticmethod
    def answer(upstream):
        while question := upstream.recv(64):
            time.sleep(UPSTREAM_MS / 1e3)
            upstream.sendall(question[::-1])

    def ask(self, question):
        self.socket.sendall(question)
        return self.socket.recv(64)

    def run(self, client, seconds):
        right = count = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            right += client.track("remote-model", self.ask, b"what is it?") == b"?ti si tahw"
            count += 1
        return right, count
