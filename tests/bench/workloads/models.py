"""The workloads of Python: the interpreter and its library, numpy, scikit-learn, ONNX Runtime.

Each is a function that prepares, and returns the function that is one inference; `ms`: how long an
inference is to last, by doing it as often as that takes (0: once). Working sets go by the caches as in
room.c: `DRAM` bytes are in no cache. numpy and what builds on it have one thread unless `threads` says more.
"""
import collections
import functools
import os
import pathlib
import sys
import threading
import time

Workload = collections.namedtuple("Workload", "name truth reason also argument ms threads interpreter prepare")
WORKLOADS = {}
MB = 2**20


def workload(name, truth, argument, ms=0, reason=None, also=None, threads=1, interpreter=None):
    def keep(prepare):
        WORKLOADS[name] = Workload(name, truth, reason, also, argument, ms, threads, interpreter, prepare)
        return prepare
    return keep


def computes(name, argument, ms=5, **more):
    return workload(name, "compute_bound", argument, ms, **more)


def last_level_bytes():
    sizes = [(0, 32 * MB)]
    for cache in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        text = (cache / "size").read_text().strip()
        factor = {"K": 1024, "M": MB}.get(text[-1], 1)
        sizes.append((int((cache / "level").read_text()), int(text.rstrip("KM")) * factor))
    return max(sizes)[1]


DRAM = min(max(8 * last_level_bytes(), 256 * MB), 512 * MB)


def child(serve):
    """A process that serves the other end of a socket until this one ends; must come before any thread."""
    import ctypes
    import signal
    import socket
    mine, theirs = socket.socketpair()
    parent = os.getpid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        mine.close()
        while os.getppid() == parent and (question := theirs.recv(65536)):
            serve(theirs, question)
        os._exit(0)
    theirs.close()
    return mine


def beside(run):
    threading.Thread(target=run, daemon=True).start()


# ---- the interpreter ----

@computes("py-loop", "bytecode over a few numbers")
def py_loop():
    def infer():
        total = 0
        for number in range(20000):
            total = (total * 31 + number) % 1000003
        return total
    return infer


@computes("py-json", "reads and writes 50 kB of JSON")
def py_json():
    import json
    document = {"rows": [{"id": row, "text": "word " * (row % 7), "values": [row / 3, row / 7]} for row in range(500)]}
    text = json.dumps(document)
    return lambda: json.dumps(json.loads(text))


@computes("py-regex", "a pattern with alternatives over 20 kB of text")
def py_regex():
    import re
    pattern = re.compile(r"(\w+)\s(?:fox|dog|wolf)s?\b|\d{3}-\d{4}")
    text = "the quick brown fox jumps over 555-1234 lazy dogs and a wolf " * 350
    return lambda: sum(1 for _ in pattern.finditer(text))


@computes("py-sha256", "hashes 64 kB by OpenSSL")
def py_sha256():
    import hashlib
    data = os.urandom(65536)
    return lambda: hashlib.sha256(data).digest()


@computes("py-deflate", "compresses 200 kB of text")
def py_deflate():
    import zlib
    text = b"".join(b"%d bottles of %d " % (number * 7919 % 1000, number) for number in range(12000))
    return lambda: zlib.compress(text, 6)


@computes("py-inflate", "decompresses 200 kB of text")
def py_inflate():
    import zlib
    packed = zlib.compress(b"".join(b"%d bottles of %d " % (number * 7919 % 1000, number) for number in range(12000)))
    return lambda: zlib.decompress(packed)


@computes("py-sort", "sorts 5000 numbers, by a key")
def py_sort():
    import random
    numbers = [random.random() for _ in range(5000)]
    return lambda: sorted(numbers, key=lambda number: -number)


@computes("py-sqlite-query", "a join and an aggregate over 2000 rows in memory")
def py_sqlite_query():
    import sqlite3
    base = sqlite3.connect(":memory:")
    base.execute("create table a (id integer primary key, kind integer, value real)")
    base.executemany("insert into a values (?, ?, ?)", ((row, row % 37, row / 3) for row in range(2000)))
    query = "select kind, sum(value), count(*) from a where value > ? group by kind order by 2"
    return lambda: base.execute(query, (100,)).fetchall()


@workload("py-sqlite-commit", "io_bound", "each transaction is written to a file and waited for")
def py_sqlite_commit():
    import sqlite3
    base = sqlite3.connect(f"commit-{os.getpid()}.sqlite", isolation_level=None)
    base.execute("create table a (id integer primary key, value real)")
    return lambda: base.execute("insert into a (value) values (1)")


@workload("py-sleep", "io_bound", "waits for a timer", 0)
def py_sleep():
    return lambda: time.sleep(0.006)


@workload("py-http-wait", "io_bound", "a server answers over HTTP after 8 ms")
def py_http_wait():
    import http.client

    def answer(socket, _):
        time.sleep(0.008)
        socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    connection = http.client.HTTPConnection("localhost")
    connection.sock = child(answer)

    def infer():
        connection.request("GET", "/predict")
        return connection.getresponse().read()
    return infer


@workload("py-worker-process", "io_bound", "another process computes for 6 ms; this one waits on a socket")
def py_worker_process():
    def answer(socket, question):
        end = time.thread_time() + 0.006
        while time.thread_time() < end:
            pass
        socket.sendall(question)
    socket = child(answer)

    def infer():
        socket.sendall(b"question")
        return socket.recv(64)
    return infer


@workload("py-program", "io_bound", "starts a program and waits for its end; a part is the kernel's work for a process",
          also="mixed")
def py_program():
    return lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@workload("py-interpreter-lock", "unknown", "two other threads run bytecode: two thirds of the time they have the "
          "interpreter's lock", 5, reason="lock")
def py_interpreter_lock():
    infer = py_loop()
    units = 2

    def busy():
        while True:
            infer()
    beside(busy)
    beside(busy)

    def several():
        for _ in range(units):
            infer()
    return several


@workload("py-queue-of-workers", "io_bound", "hands the question to a thread of its own, which asks a server: nothing "
          "computes, no lock is held")
def py_queue_of_workers():
    import queue

    def answer(socket, question):
        time.sleep(0.005)
        socket.sendall(question)
    socket, questions, answers = child(answer), queue.SimpleQueue(), queue.SimpleQueue()

    def work():
        while True:
            socket.sendall(questions.get())
            answers.put(socket.recv(64))
    beside(work)

    def infer():
        questions.put(b"question")
        return answers.get()
    return infer


# ---- numpy ----

def drawn(*shape):
    import numpy
    return numpy.random.default_rng(1).standard_normal(shape, dtype=numpy.float32)


def rolling(parts):
    """One after the other, for ever: what was used last is out of the caches when it comes again."""
    import itertools
    return functools.partial(next, itertools.cycle(parts))


@computes("np-matrix", "a product of 384 × 384 by BLAS: 768 operations for each number")
def np_matrix():
    left, right = drawn(384, 384), drawn(384, 384)
    return lambda: left @ right


@computes("np-matrix-threads", "a product of 768 × 768 by BLAS with two threads", threads=2)
def np_matrix_threads():
    left, right = drawn(768, 768), drawn(768, 768)
    return lambda: left @ right


@computes("np-layer-64-dram", "64 inputs by weights of 32 MB that are in no cache: 128 operations for each 4 bytes", 0)
def np_layer_64_dram():
    inputs, weights = drawn(64, 4096), rolling([drawn(4096, 2048) for _ in range(DRAM // (32 * MB))])
    return lambda: inputs @ weights()


@workload("np-layer-1-dram", "memory_bound", "one input by weights of 64 MB that are in no cache: two operations for "
          "each 4 bytes", 0)
def np_layer_1_dram():
    inputs, weights = drawn(1, 4096), rolling([drawn(4096, 4096) for _ in range(DRAM // (64 * MB))])
    return lambda: inputs @ weights()


@workload("np-triad-dram", "memory_bound", "two operations for 12 bytes that are in no cache", 5)
def np_triad_dram():
    import numpy
    size, step = DRAM // 3 // 4, MB // 4
    a, b, c = (numpy.ones(size, dtype=numpy.float32) for _ in range(3))
    part = rolling([slice(at, at + step) for at in range(0, size - step, step)])

    def infer():
        here = part()
        numpy.add(b[here], c[here], out=a[here])
    return infer


@workload("np-copy-dram", "memory_bound", "moves bytes that are in no cache", 6)
def np_copy_dram():
    import numpy
    size, step = DRAM // 2, 4 * MB
    source, target = numpy.ones(size, dtype=numpy.uint8), numpy.ones(size, dtype=numpy.uint8)
    part = rolling([slice(at, at + step) for at in range(0, size - step + 1, step)])

    def infer():
        here = part()
        numpy.copyto(target[here], source[here])
    return infer


@workload("np-embedding-dram", "memory_bound", "sums 2000 rows of 256 bytes at random, of which none is in a cache", 4)
def np_embedding_dram():
    import numpy
    table = numpy.ones((DRAM // 256, 64), dtype=numpy.float32)
    draw = numpy.random.default_rng(2)
    rows = rolling([draw.integers(0, len(table), 2000) for _ in range(400)])
    return lambda: table[rows()].sum(axis=0)


@workload("np-temporaries", "memory_bound", "each step makes an array of 40 MB: pages from the kernel, and bytes "
          "that are in no cache")
def np_temporaries():
    import numpy
    numbers = numpy.ones(5 * MB, dtype=numpy.float64)
    return lambda: numbers * 2.0


@computes("np-fourier", "transforms of 4096 numbers, all in the second level")
def np_fourier():
    import numpy
    numbers = drawn(4, 4096)
    return lambda: numpy.fft.rfft(numbers)


@computes("np-exponential", "exponentials of 40 kB")
def np_exponential():
    import numpy
    numbers = drawn(10, 1024)
    return lambda: numpy.exp(numpy.tanh(numbers))


@computes("np-sort", "sorts 20,000 numbers, all in the second level")
def np_sort():
    import numpy
    numbers = drawn(20000)
    return lambda: numpy.sort(numbers)


@computes("np-threads", "two threads of its own multiply for it, which lets go of the interpreter", 0)
def np_threads():
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(2)
    left, right = drawn(384, 384), drawn(384, 384)

    def some(_):
        for _ in range(2):
            left @ right
    return lambda: list(pool.map(some, range(2)))


# ---- scikit-learn ----

@functools.lru_cache
def digits():
    from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels


def sklearn_model(name, make, batch, ms=5, threads=1, argument="a small model, all in the second level"):
    @computes(f"sk-{name}-{batch}", f"{argument}; {batch} at a time", ms, threads=threads)
    def prepare():
        images, labels = digits()
        model = make()
        model.fit(images[:600], labels[:600])
        parts = rolling([images[at:at + batch] for at in range(600, len(images) - batch, batch)])
        ask = getattr(model, "predict", None) or model.transform
        return lambda: ask(parts())


def logistic():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression(max_iter=200)


def forest(jobs=1):
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(n_estimators=60, n_jobs=jobs, random_state=1)


def boosting():
    from sklearn.ensemble import GradientBoostingClassifier
    return GradientBoostingClassifier(n_estimators=15, random_state=1)


def boosting_by_histogram():
    from sklearn.ensemble import HistGradientBoostingClassifier
    return HistGradientBoostingClassifier(max_iter=10, random_state=1)


def neighbours():
    from sklearn.neighbors import KNeighborsClassifier
    return KNeighborsClassifier(5, algorithm="kd_tree")


def perceptron():
    from sklearn.neural_network import MLPClassifier
    return MLPClassifier((64, 32), max_iter=40, random_state=1)


def vectors():
    from sklearn.svm import SVC
    return SVC()


def components():
    from sklearn.decomposition import PCA
    return PCA(16)


for made, batches in ((logistic, (1, 64)), (boosting, (1, 64)), (neighbours, (1, 64)), (perceptron, (1, 64)),
                      (vectors, (64,)), (components, (64,))):
    for size in batches:
        sklearn_model(made.__name__, made, size)
sklearn_model("forest", forest, 1, ms=0, argument="60 trees, one after the other")
sklearn_model("forest", forest, 64, ms=0, argument="60 trees, one after the other")
sklearn_model("forest-threads", functools.partial(forest, 2), 64, ms=0, threads=2, argument="60 trees by two threads")
sklearn_model("histogram-boosting", boosting_by_histogram, 64, argument="trees by one thread of OpenMP")
sklearn_model("histogram-boosting-threads", boosting_by_histogram, 64, ms=0, threads=2,
              argument="trees by two threads of OpenMP")


@computes("sk-words-64", "counts and weighs the words of 64 short texts")
def sk_words():
    from sklearn.feature_extraction.text import TfidfVectorizer
    texts = [" ".join(f"word{(text * 31 + at * at) % 500}" for at in range(60)) for text in range(64)]
    model = TfidfVectorizer().fit(texts)
    return lambda: model.transform(texts)


# ---- ONNX Runtime ----

def network(width, layers, batch, threads):
    """A stack of products with a nonlinearity after each; its weights are made here."""
    import numpy
    from onnx import TensorProto, helper, numpy_helper
    import onnxruntime
    nodes, weights, last = [], [], "input"
    for layer in range(layers):
        weights.append(numpy_helper.from_array(drawn(width, width) / width**0.5, f"weight{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"weight{layer}"], [f"product{layer}"]))
        nodes.append(helper.make_node("Relu", [f"product{layer}"], [f"layer{layer}"]))
        last = f"layer{layer}"
    ends = [[helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", width])] for end in ("input", last)]
    model = helper.make_model(helper.make_graph(nodes, "stack", *ends, weights),
                              opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {"input": numpy.ascontiguousarray(drawn(batch, width))}
    return lambda: session.run(None, inputs)


def onnx_network(name, truth, argument, width, layers, batch, ms=5, threads=1, **more):
    @workload(f"onnx-{name}", truth, argument, ms, interpreter="onnxruntime", **more)
    def prepare():
        return network(width, layers, batch, threads)


onnx_network("small-1", "compute_bound", "weights of 384 kB, in the second level; one input at a time", 128, 6, 1)
onnx_network("small-64", "compute_bound", "weights of 384 kB; 64 inputs at a time", 128, 6, 64)
onnx_network("small-64-threads", "compute_bound", "64 inputs at a time by a pool of two, which is the runtime's",
             256, 6, 64, threads=2)
onnx_network("large-1", "memory_bound", "one input by weights that are in no cache: two operations for each 4 bytes",
             2048, DRAM // (16 * MB), 1, ms=0)
onnx_network("large-32", "compute_bound", "32 inputs by weights of which a layer fits no private cache: 64 operations "
             "for each 4 bytes", 1024, 4, 32, ms=0, also="mixed")

if __name__ == "__main__":
    sys.exit("run.py runs them")
