"""Functions of SciPy and scikit-learn that take arrays of any standard library.

Run as a script with SCIPY_ARRAY_API=1 (SciPy reads it when it is imported): it calls
each on tensors and prints as JSON what differs from the same call on NumPy arrays.
"""

import importlib
import json
import warnings

import numpy as np
import scipy
import sklearn

import tensorlib as tl

RNG = np.random.default_rng(0)
M = RNG.normal(size=(8, 3))
X = abs(RNG.normal(size=(16, 3)))
V = RNG.normal(size=16)
P = abs(V) + 0.1
Q = P[::-1].copy()
S = M.T @ M + np.eye(3)
Y, Z = (V > 0).astype(np.int64), (P > 1).astype(np.int64)

# {module: {arguments: names}}
FUNCTIONS = {
    "scipy.special": [
        ((V,), "erf erfc expit gammaln ndtr log_ndtr i0 j1 entr softmax log_softmax "
         "logsumexp"),
        ((P, P), "xlogy rel_entr gammainc"), ((P / 9,), "logit ndtri"),
        ((P, P, P / 9), "betainc"),
    ],
    "scipy.fft": [((M,), "fft ifft rfft fft2 fftn fftshift dct"), ((V + 0j,), "irfft")],
    "scipy.stats": [
        ((P,), "gmean hmean kurtosis skew zscore variation tmean tvar sem describe "
         "entropy circmean jarque_bera normaltest differential_entropy iqr rankdata "
         "median_abs_deviation"),
        ((P, 0.5), "ttest_1samp quantile"), ((P, V), "bartlett ttest_ind pearsonr"),
        ((P, 3), "moment"), ((P, 0.1), "trim_mean"),
    ],
    "scipy.cluster.vq": [((M,), "whiten"), ((M, M[:2]), "vq")],
    "scipy.cluster.hierarchy": [((M,), "linkage")],
    "scipy.linalg": [
        ((S,), "inv qr cholesky expm det eigh"), ((M,), "svd"), ((S, S), "solve"),
    ],
    "scipy.signal": [
        ((V,), "detrend hilbert medfilt"), ((V, P), "convolve fftconvolve correlate"),
        ((V, 5, 2), "savgol_filter"), ((V, 8), "resample"),
    ],
    "scipy.ndimage": [((M, 1.0), "gaussian_filter"), ((M,), "sobel")],
    "scipy.integrate": [((V,), "trapezoid simpson cumulative_trapezoid")],
    "scipy.spatial.distance": [((M,), "pdist"), ((M, M), "cdist")],
    "scipy.optimize": [((V,), "rosen rosen_der")],
    "sklearn.metrics": [
        ((Y, Z), "accuracy_score f1_score precision_score recall_score zero_one_loss "
         "hamming_loss jaccard_score confusion_matrix balanced_accuracy_score "
         "cohen_kappa_score"),
        ((Y, P / 9), "log_loss brier_score_loss roc_curve roc_auc_score "
         "precision_recall_curve det_curve average_precision_score"),
        ((P, Q), "mean_squared_error mean_absolute_error r2_score max_error "
         "explained_variance_score mean_tweedie_deviance mean_squared_log_error "
         "mean_absolute_percentage_error root_mean_squared_error mean_pinball_loss "
         "d2_tweedie_score mean_poisson_deviance mean_gamma_deviance"),
    ],
    "sklearn.metrics.pairwise": [
        ((X, X[:5]), "cosine_similarity euclidean_distances rbf_kernel linear_kernel "
         "polynomial_kernel sigmoid_kernel laplacian_kernel manhattan_distances "
         "chi2_kernel additive_chi2_kernel"),
        ((X, X), "paired_cosine_distances paired_euclidean_distances"),
    ],
}  # fmt: skip
# These take tensors and give NumPy arrays.
COMPUTED_BY_NUMPY = ("scipy.linalg.", "scipy.spatial.distance.cdist")
# Estimators: (module, class, keywords, method, whether there is a target).
ESTIMATORS = [
    ("preprocessing", "StandardScaler", {}, "transform", None),
    ("preprocessing", "MinMaxScaler", {}, "transform", None),
    ("preprocessing", "MaxAbsScaler", {}, "transform", None),
    ("preprocessing", "Normalizer", {}, "transform", None),
    ("preprocessing", "Binarizer", {}, "transform", None),
    ("preprocessing", "PolynomialFeatures", {}, "transform", None),
    ("decomposition", "PCA", {"svd_solver": "full"}, "transform", None),
    ("linear_model", "Ridge", {"solver": "svd"}, "predict", V),
    ("linear_model", "RidgeCV", {}, "predict", V),
    ("discriminant_analysis", "LinearDiscriminantAnalysis", {}, "predict", Y),
    ("naive_bayes", "GaussianNB", {}, "predict", Y),
]


def calls():
    """Yield (name, function of arrays, arrays)."""
    for module, groups in FUNCTIONS.items():
        found = importlib.import_module(module)
        for arrays, names in groups:
            for name in names.split():
                yield f"{module}.{name}", getattr(found, name, None), arrays
    for module, name, keywords, method, target in ESTIMATORS:
        kind = getattr(importlib.import_module(f"sklearn.{module}"), name)

        def fitted(*arrays, kind=kind, keywords=keywords, method=method):
            return getattr(kind(**keywords).fit(*arrays), method)(arrays[0])

        arrays = (X,) if target is None else (X, target)
        yield f"sklearn.{module}.{name}", fitted, arrays


def difference(name, function, arrays):
    """What is wrong with the call on tensors, or None."""
    expected = function(*arrays)
    tensors = [tl.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
    found = function(*tensors)
    parts = zip(
        found if isinstance(found, tuple) else (found,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    )
    for f, e in parts:
        if isinstance(f, np.ndarray) and not name.startswith(COMPUTED_BY_NUMPY):
            return "a NumPy array"
        if not np.allclose(np.asarray(f), np.asarray(e), rtol=1e-6, equal_nan=True):
            return f"{f}, not {e}"
    return None


def main():
    warnings.simplefilter("ignore")
    sklearn.set_config(array_api_dispatch=True)
    count, wrong = 0, {}
    for name, function, arrays in calls():
        if function is None:
            continue  # this version has no such function
        count += 1
        try:
            complaint = difference(name, function, arrays)
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        if complaint:
            wrong[name] = complaint
    versions = {"scipy": scipy.__version__, "scikit-learn": sklearn.__version__}
    print(json.dumps({"count": count, "wrong": wrong, "versions": versions}))


if __name__ == "__main__":
    main()
