"""A program that uses all of tensorlib, for type checkers: `test_type_stubs` runs it
through them, and runs it, so that what they believe is true.
"""

import tempfile
from typing import assert_type

import tensorlib as tl
from tensorlib import grad, hessian, jacrev, jvp, nn, optim, value_and_grad, vjp, vmap
from tensorlib.data import DataLoader, TensorDataset
from tensorlib.nn import functional as F

# ---- tensors: attributes, methods, operators
x = tl.rand(4, 4) + tl.eye(4)
assert_type(x.shape, tuple[int, ...])
assert_type(x.ndim, int)
assert_type(x.dtype, tl.DType)
assert_type(x.device, tl.Device)
assert_type(x.T, tl.Tensor)
assert_type(x.mT @ x, tl.Tensor)
assert_type(x + 1, tl.Tensor)
assert_type(1.0 - x, tl.Tensor)
assert_type(2 * x / 3, tl.Tensor)
assert_type(x**2, tl.Tensor)
assert_type(2**x, tl.Tensor)
assert_type(-x, tl.Tensor)
assert_type(abs(x), tl.Tensor)
assert_type(x // 2 % 3, tl.Tensor)
assert_type(x == 1, tl.Tensor)
assert_type(x != 2 * x, tl.Tensor)
assert_type(((x > 0) & ~(x < 2)) | ((x >= 1) ^ (x <= 3)), tl.Tensor)
i = tl.arange(4)
assert_type((i << 1) >> 1, tl.Tensor)
assert_type(len(x), int)
assert_type(bool(x.any()), bool)
assert_type(float(x.sum()), float)
assert_type(int(i[0]), int)
assert_type(complex(x[0, 0]), complex)
for row in x[:2]:
    assert_type(row, tl.Tensor)
assert_type(x.sum(axis=0, keepdims=True), tl.Tensor)
assert_type(x.mean(), tl.Tensor)
assert_type(x.max(axis=(0, 1)), tl.Tensor)
assert_type(x.reshape(2, 8), tl.Tensor)
assert_type(x.reshape((2, 8)), tl.Tensor)
assert_type(x.permute_dims(1, 0), tl.Tensor)
assert_type(x.astype(tl.float64), tl.Tensor)
assert_type(x.to("float64"), tl.Tensor)
assert_type(x.detach().clone().contiguous(), tl.Tensor)
assert_type(x.exp().log1p().tanh(), tl.Tensor)
assert_type(x.softmax(axis=-1), tl.Tensor)
assert_type(x.argmax(axis=1), tl.Tensor)
assert_type(x.split(2), list[tl.Tensor])
assert_type(x.nonzero(), tuple[tl.Tensor, ...])
assert_type(x.tobytes(), bytes)
assert_type(x.data_ptr(), int)
assert_type(x.is_contiguous, bool)
assert_type(x.clone().requires_grad_(), tl.Tensor)
assert_type(x.clone().zero_(), tl.Tensor)
assert_type(x.__dlpack_device__(), tuple[int, int])
assert_type(bytes(memoryview(x)), bytes)
x += 1.0
x -= 1.0
product = x @ x.T
text: str = f"{x}"
y = x.sort()
values, indices = x.topk(2)
assert_type(values, tl.Tensor)

# ---- indexing
assert_type(x[0], tl.Tensor)
assert_type(x[..., None, 1:], tl.Tensor)
assert_type(x[x > 0], tl.Tensor)
assert_type(x[[0, 1]], tl.Tensor)
assert_type(x[i[:2], ::2], tl.Tensor)
x[0] = 1.0
x[x < 0] = 0
x[:, 1] = [1.0, 2.0, 3.0, 4.0]
x[0, 0] = tl.tensor(2.0)

# ---- functions
assert_type(tl.where(x > 0, x, 0.0), tl.Tensor)
assert_type(tl.where(x > 0), tuple[tl.Tensor, ...])
assert_type(tl.concat([x, x], axis=1), tl.Tensor)
assert_type(tl.einsum("ij,kj->ik", x, x), tl.Tensor)
assert_type(x.gather(1, i.reshape(-1, 1)), tl.Tensor)
assert_type(tl.gather(x, i.reshape(-1, 1), axis=1), tl.Tensor)
assert_type(x.scatter(1, i.reshape(-1, 1), value=2.0), tl.Tensor)
assert_type(x.scatter_add(axis=1, index=i.reshape(-1, 1), src=x), tl.Tensor)
assert_type(tl.index_add(x, 0, i, x[i], alpha=2), tl.Tensor)
assert_type(x.index_select(0, i).masked_fill(x[i] > 0, 0.0), tl.Tensor)
assert_type(tl.unique_values(i), tl.Tensor)
assert_type(tl.linspace(0, 1, 5, endpoint=False), tl.Tensor)
assert_type(tl.finfo(tl.float32).eps, float)
assert_type(tl.iinfo(tl.int8).max, int)
assert_type(tl.result_type(tl.float32, 1), tl.DType)
assert_type(tl.pi, float)
assert_type(tl.broadcast_shapes((1, 2), (3, 1)), tuple[int, ...])
counted, edges = tl.histogram(x, bins=3)
assert_type(edges, tl.Tensor)
assert_type(tl.meshgrid(i, i), tuple[tl.Tensor, ...])
assert_type(tl.isdtype(tl.float32, "real floating"), bool)
assert_type(tl.default_generator, tl.Generator)
assert_type(tl.Generator(3).manual_seed(4), tl.Generator)
tl.manual_seed(0)
counts = tl.unique_counts(i)
assert_type(counts.counts, tl.Tensor)
device: tl.Device = tl.__array_namespace_info__().default_device()

# ---- linalg, fft
assert_type(tl.linalg.inv(x), tl.Tensor)
assert_type(tl.linalg.solve(x, x), tl.Tensor)
x = tl.rand(4, 4) + 4 * tl.eye(4)
u, s, vh = tl.linalg.svd(x)
assert_type(u, tl.Tensor)
assert_type(tl.linalg.svd(x).S, tl.Tensor)
assert_type(tl.linalg.eigh(x + x.mT).eigenvalues, tl.Tensor)
assert_type(tl.linalg.qr(x, mode="complete").Q, tl.Tensor)
assert_type(tl.linalg.slogdet(x).logabsdet, tl.Tensor)
assert_type(tl.linalg.norm(x), tl.Tensor)
assert_type(tl.fft.fft(x), tl.Tensor)
assert_type(tl.fft.irfft(tl.fft.rfft(x), n=4), tl.Tensor)
assert_type(tl.fft.fftfreq(8, d=0.5), tl.Tensor)

# ---- autograd
x.requires_grad_()
x.sum().backward()
assert_type(x.grad, tl.Tensor | None)
(dx,) = tl.autograd.grad(x.sum(), x)
assert_type(dx, tl.Tensor)
with tl.no_grad(), tl.autograd.detect_anomaly():
    pass


@tl.no_grad()
def evaluate(x: tl.Tensor) -> tl.Tensor:
    return x * 2


doubled: tl.Tensor = evaluate(x)


class Square(tl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


# ---- transforms
def loss(w: tl.Tensor) -> tl.Tensor:
    return (w * w).sum()


grad(loss)(x)
value, gradient = value_and_grad(loss)(x)
vmap(loss)(x)
hessian(loss)(x)
jacrev(loss)(x)
out, tangent = jvp(loss, (x,), (x,))
out, back = vjp(loss, x)


# ---- networks
class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2, bias=False)
        self.register_buffer("scale", tl.ones(1))

    def forward(self, x: tl.Tensor) -> tl.Tensor:
        return self.head(self.layers(x))


model = Model()
state = model.state_dict()
model.load_state_dict(state)
model.train().eval()
logits: tl.Tensor = model(x)
total: tl.Tensor = F.cross_entropy(logits, tl.zeros(4, dtype=tl.int64))
assert_type(nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss)
assert_type(F.relu(x), tl.Tensor)
assert_type(F.scaled_dot_product_attention(x, x, x), tl.Tensor)
for key, parameter in model.named_parameters():
    assert_type(key, str)
    assert_type(parameter.grad, tl.Tensor | None)
output, hidden = nn.LSTM(4, 8)(x.reshape(4, 1, 4))

# ---- optimizers
optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
optimizer.zero_grad()
total.backward()
optimizer.step()
schedule.step()
nn.utils.clip_grad_norm_(model.parameters(), 1.0)

# ---- data
loader = DataLoader(TensorDataset(x.detach(), i), batch_size=2, shuffle=True)
for batch in loader:
    first, second = batch
assert_type(len(loader), int)
with tempfile.TemporaryDirectory() as folder:
    tl.save({"x": x}, f"{folder}/x.safetensors")
