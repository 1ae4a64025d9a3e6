#!/usr/bin/python3
"""A model as `dwell bench` runs it: reads a line, classifies a handwritten digit, answers a line.

    dwell bench -- python3 tests/demo/digits.py [forest|network|both]

The line is the number of an image of scikit-learn's digits, again from the first after the last; the
answer is what each model takes it for. forest: 50 trees; network: two hidden layers; both (the default)
one after the other. Trained at the start, which is part of the first answer. Exit status 69: scikit-learn
is missing.
"""

import os
import sys
import warnings

# One thread for each worker: several of them would take the CPUs from each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

EX_USAGE, EX_DATAERR, EX_UNAVAILABLE = 64, 65, 69
KINDS = {"forest": ["forest"], "network": ["network"], "both": ["forest", "network"]}


def train(names):
    """The images, and the models by name."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        print(f"digits.py: {error}. It needs scikit-learn: apt install python3-sklearn, and "
              "/usr/bin/python3; or pip install scikit-learn", file=sys.stderr)
        sys.exit(EX_UNAVAILABLE)
    warnings.simplefilter("ignore", ConvergenceWarning)  # good enough digits are not the point
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    makers = {
        "forest": lambda: RandomForestClassifier(n_estimators=50, n_jobs=1, random_state=1),
        "network": lambda: MLPClassifier((64, 32), max_iter=15, random_state=1),
    }
    half = len(images) // 2
    return images, [makers[name]().fit(images[:half], labels[:half]) for name in names]


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else "both"
    if kind not in KINDS or len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        return EX_USAGE
    images, models = train(KINDS[kind])
    for line in sys.stdin:
        try:
            at = int(line) % len(images)
        except ValueError:
            print(f"digits.py: expects the number of an image, got {line!r}", file=sys.stderr)
            return EX_DATAERR
        print(*(model.predict(images[at:at + 1])[0] for model in models), flush=True)
    return 0


sys.exit(main())
