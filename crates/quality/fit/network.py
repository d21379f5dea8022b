"""A small network fitted with scikit-learn, and how its weights become Rust."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor


class Network:
    """Standardised inputs, one hidden layer of tanh, linear outputs; weights in single precision as in Rust."""

    def __init__(self, x, y, hidden, penalty, seed=7, classes=False):
        self.mean, self.deviation = x.mean(0), x.std(0) + 1e-6
        kind = MLPClassifier if classes else MLPRegressor
        net = kind(hidden_layer_sizes=(hidden,), activation="tanh", solver="lbfgs", alpha=penalty, max_iter=1500, random_state=seed)
        net.fit(self.standard(x), y)
        self.first, self.second = (w.astype(np.float32) for w in net.coefs_)
        self.bias, self.out = (b.astype(np.float32) for b in net.intercepts_)
        self.lowest, self.highest = x.min(0), x.max(0)

    def standard(self, x):
        return np.clip((x - self.mean) / self.deviation, -4, 4)

    def __call__(self, x):
        return np.tanh(self.standard(x) @ self.first + self.bias) @ self.second + self.out


def rust(name, values):
    """A constant of one or two dimensions."""
    values = np.atleast_1d(np.asarray(values, np.float64))
    row = lambda r: "[" + ", ".join(f"{v:.6g}" if "." in f"{v:.6g}" or "e" in f"{v:.6g}" else f"{v:.6g}.0" for v in r) + "]"
    if values.ndim == 1:
        return f"pub(crate) const {name}: [f32; {len(values)}] = {row(values)};\n"
    rows = ",\n    ".join(row(r) for r in values)
    return f"pub(crate) const {name}: [[f32; {values.shape[1]}]; {values.shape[0]}] = [\n    {rows},\n];\n"


def constants(net):
    return (rust("MEAN", net.mean) + rust("SCALE", 1 / net.deviation) + rust("HIDDEN", net.first.T)
            + rust("HIDDEN_BIAS", net.bias) + rust("OUT", net.second.T) + rust("OUT_BIAS", net.out))
