"""Training logs: what is written is read back, from CSV and from TensorBoard."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tensorlib as tl
from tensorlib.metrics_log import MetricsWriter, read_metrics

ROOT = Path(tl.__file__).parents[1]


@pytest.fixture
def log(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        yield writer


def test_scalars_are_read_back_exactly(log, tmp_path):
    values = [0.1, -1e300, 5e-324, float("inf"), 3]
    for step, value in enumerate(values):
        log.add_scalar("loss", value, step)
    log.add_scalar('odd, "name"', tl.tensor(0.5), 7)
    found = read_metrics(tmp_path)
    assert found["loss"] == list(enumerate(map(float, values)))
    assert found['odd, "name"'] == [(7, 0.5)]
    log.add_scalar("nan", math.nan)
    assert math.isnan(read_metrics(tmp_path)["nan"][0][1])


def test_steps_count_up_where_none_is_given(log, tmp_path):
    log.add_scalar("a", 1.0)
    log.add_scalar("a", 2.0, 10)
    log.add_scalar("a", 3.0)
    log.add_scalar("b", 4.0)
    assert [step for step, _ in read_metrics(tmp_path)["a"]] == [0, 10, 11]
    assert read_metrics(tmp_path)["b"] == [(0, 4.0)]


def test_scalars_of_a_group_share_its_name(log, tmp_path):
    log.add_scalars("accuracy", {"train": 0.9, "test": 0.8}, 3)
    found = read_metrics(tmp_path)
    assert found == {"accuracy/train": [(3, 0.9)], "accuracy/test": [(3, 0.8)]}


def test_walltime_is_kept(log, tmp_path):
    log.add_scalar("a", 1.0, 2, walltime=1234.5)
    text = (tmp_path / "metrics.csv").read_text()
    assert text == "tag,step,value,walltime\na,2,1.0,1234.5\n"


def test_log_is_continued_and_purged(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=False) as log:
        for step in range(5):
            log.add_scalar("loss", step, step)
    with MetricsWriter(tmp_path, purge_step=3, tensorboard=False) as log:
        log.add_scalar("loss", 30.0)
    with MetricsWriter(tmp_path, tensorboard=False) as log:
        log.add_scalar("loss", 40.0)
    expected = [(0, 0.0), (1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]
    assert read_metrics(tmp_path)["loss"] == expected
    MetricsWriter(tmp_path, purge_step=0, tensorboard=False).close()
    assert read_metrics(tmp_path) == {}


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_line_cut_short_by_a_crash_is_dropped(cut, tmp_path):
    with MetricsWriter(tmp_path, tensorboard=False) as log:
        log.add_scalar("loss", 1.0, 0, walltime=0)
        log.add_scalar("loss", 2.0, 1, walltime=123456789)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_metrics(tmp_path)["loss"] == [(0, 1.0)]
    with MetricsWriter(tmp_path, tensorboard=False) as log:
        log.add_scalar("loss", 3.0)
    assert read_metrics(tmp_path)["loss"] == [(0, 1.0), (1, 3.0)]


def test_log_whose_heading_was_cut_short_starts_anew(tmp_path):
    (tmp_path / "metrics.csv").write_text("tag,st")
    with MetricsWriter(tmp_path, tensorboard=False) as log:
        log.add_scalar("a", 1.0)
    assert read_metrics(tmp_path) == {"a": [(0, 1.0)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", "expected a log with the heading"),
        ("hello", "expected a log with the heading"),
        ("tag,step,value,walltime\na,b,c,d\n", "corrupt row 2"),
        ("tag,step,value,walltime\na,1,1.0,0\na\n", "corrupt row 3"),
    ],
)
def test_another_file_is_refused_and_kept(text, message, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    for function in (read_metrics, lambda folder: MetricsWriter(folder, 0)):
        with pytest.raises(ValueError, match=message) as caught:
            function(tmp_path)
        assert str(path) in str(caught.value)
    assert path.read_text() == text


def test_histogram_gives_its_summary(log, tmp_path):
    log.add_histogram("weights", tl.tensor([[1.0, 3.0], [math.nan, 5.0]]), 2)
    found = read_metrics(tmp_path)
    assert found["weights/mean"] == [(2, 3.0)]
    assert found["weights/min"] == [(2, 1.0)]
    assert found["weights/max"] == [(2, 5.0)]
    assert found["weights/std"] == [(2, pytest.approx(math.sqrt(8 / 3)))]
    with pytest.raises(ValueError, match="no finite values"):
        log.add_histogram("weights", tl.tensor([math.inf]))


@pytest.mark.parametrize("values", [[7.0], [-1.7e308, 1.7e308], [5e-324, 0.0], [2, 2]])
def test_histogram_of_odd_values(values, tmp_path):
    with MetricsWriter(tmp_path) as log:
        log.add_histogram("x", tl.tensor(values, dtype=tl.float64))
        log.add_histogram("x", tl.tensor([True, False]))
    assert read_metrics(tmp_path)["x/max"] == [(0, max(values)), (1, 1.0)]


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_image_is_a_png_that_pillow_reads(channels, dtype, log, tmp_path):
    np = pytest.importorskip("numpy")
    pil = pytest.importorskip("PIL.Image")
    shape = (4, 5) if channels is None else (channels, 4, 5)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = pixels if dtype == "uint8" else (pixels / 255).astype("f4")
    log.add_image("../a b/ü", tl.asarray(image), 3)
    (path,) = (tmp_path / "images").iterdir()
    assert path.name == "___a_b_ü_3.png"
    found = np.asarray(pil.open(path))
    expected = pixels if channels is None else pixels.transpose(1, 2, 0).squeeze()
    assert (found == expected).all()


def test_image_of_another_shape_raises(log):
    for shape in ((2, 4, 4), (4,), (3, 0, 4), (1, 3, 4, 4)):
        with pytest.raises(tl.ShapeError, match="add_image: expected"):
            log.add_image("x", tl.zeros(shape))


def test_figure_is_drawn(log, tmp_path):
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure()
    figure.subplots().plot([1, 2])
    log.add_figure("curve", figure, 1)
    assert (tmp_path / "images" / "curve_1.png").read_bytes()[:4] == b"\x89PNG"


def test_closed_log_refuses_and_closes_again(tmp_path):
    log = MetricsWriter(tmp_path, tensorboard=False)
    log.flush()
    log.close()
    log.close()
    with pytest.raises(ValueError, match="is closed"):
        log.add_scalar("a", 1.0)
    with pytest.raises(ValueError, match="is closed"):
        log.flush()


def test_value_that_is_no_number_raises_and_writes_nothing(log, tmp_path):
    for value in ("x", None, [1.0]):
        with pytest.raises((TypeError, ValueError)):
            log.add_scalar("a", value)
    assert read_metrics(tmp_path) == {}


def test_killed_process_loses_nothing(tmp_path):
    script = (
        "import os, signal, sys, tensorlib as tl\n"
        "log = tl.MetricsWriter(sys.argv[1], tensorboard=False)\n"
        "for step in range(100): log.add_scalar('loss', step, step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert len(read_metrics(tmp_path)["loss"]) == 100


@pytest.mark.parametrize("tag", ["a\nb", "a\rb", 7, None])
def test_tag_that_is_no_line_raises(tag, log, tmp_path):
    with pytest.raises(ValueError, match="a tag of one line"):
        log.add_scalar(tag, 1.0)
    assert read_metrics(tmp_path) == {}


# ---- TensorBoard -----------------------------------------------------------------


def read_events(folder):
    """Return tensorboard's own view of a folder."""
    import warnings

    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own imports
        from tensorboard.backend.event_processing import event_accumulator

        events = event_accumulator.EventAccumulator(str(folder))
        events.Reload()
    return events


def test_tensorboard_reads_scalars_images_and_histograms(tmp_path):
    pytest.importorskip("tensorboard")
    with MetricsWriter(tmp_path) as log:
        for step in range(3):
            log.add_scalar("loss", 1 / (1 + step), step, walltime=1000.0 + step)
        log.add_histogram("weights", tl.arange(100), 5)
        log.add_image("picture", tl.ones((3, 4, 6)), 6)
    events = read_events(tmp_path)
    scalars = events.Scalars("loss")
    assert [event.step for event in scalars] == [0, 1, 2]
    assert [event.wall_time for event in scalars] == [1000.0, 1001.0, 1002.0]
    assert [event.value for event in scalars] == pytest.approx([1, 1 / 2, 1 / 3])
    (histogram,) = events.Histograms("weights")
    value = histogram.histogram_value
    assert (value.num, value.min, value.max, value.sum) == (100, 0, 99, 4950)
    assert sum(value.bucket) == 100
    assert list(value.bucket_limit) == sorted(value.bucket_limit)
    (image,) = events.Images("picture")
    assert (image.step, image.height, image.width) == (6, 4, 6)
    png = (tmp_path / "images" / "picture_6.png").read_bytes()
    assert image.encoded_image_string == png


def test_tensorboard_forgets_purged_steps(tmp_path):
    pytest.importorskip("tensorboard")
    for value, start, purge in ((0.0, 0, None), (1.0, 3, 3)):
        with MetricsWriter(tmp_path, purge) as log:
            for step in range(start, 5):
                log.add_scalar("loss", value, step)
    values = {
        event.step: event.value for event in read_events(tmp_path).Scalars("loss")
    }
    assert values == {0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0, 4: 1.0}


def test_tensorboard_needs_no_tensorflow():
    pytest.importorskip("tensorboard")
    script = (
        "import sys, tempfile, tensorlib as tl\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    with tl.MetricsWriter(folder, tensorboard=True) as log:\n"
        "        log.add_scalar('a', 1.0)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", script], timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_missing_tensorboard_is_named_when_asked_for(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "tensorboard":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        MetricsWriter(tmp_path, tensorboard=True)
