"""Turn a trained PyTorch network into one that computes polynomials only, by fine-tuning.

    from polynomial import swap, finetune, export

    net = swap(model, samples)                        # every activation and max pool gets a polynomial
    net = finetune(net, epoch, epochs=5, teacher=model)  # epoch(): an iterable of (inputs, labels)
    export(net, samples[:1], "model.onnx")            # hec compiles it as it is

`swap` traces the model with torch.fx. Each activation (ReLU, LeakyReLU, SiLU, GELU, Sigmoid, Tanh and more: see
ACTIVATIONS), together with a max pool that directly follows, becomes a `Site`: what was there, and what stands in for
it. A polynomial is fitted to what the samples show at its site, with the sites before it replaced already. While
training it is a sum of Chebyshev polynomials of (x - centre) / width, so that its coefficients are of one size.
"""

import copy
import inspect
import math

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

# Modules that a polynomial replaces, and the same as functions and methods.
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.GELU, nn.Mish, nn.Softplus,
    nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softsign,
)
FUNCTIONS = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, F.relu6: nn.ReLU6, F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU,
    F.selu: nn.SELU, F.celu: nn.CELU, F.silu: nn.SiLU, F.gelu: nn.GELU, F.mish: nn.Mish, F.softplus: nn.Softplus,
    F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, F.tanh: nn.Tanh, torch.tanh: nn.Tanh,
    F.hardtanh: nn.Hardtanh, F.hardswish: nn.Hardswish, F.hardsigmoid: nn.Hardsigmoid, F.softsign: nn.Softsign,
}
METHODS = {"relu": nn.ReLU, "relu_": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
# Even degrees are of no use to functions that are odd but for a constant.
ODD = (nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign)
MAX_POOLS = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
MAX_POOL_FUNCTIONS = {F.max_pool1d: nn.MaxPool1d, F.max_pool2d: nn.MaxPool2d, F.max_pool3d: nn.MaxPool3d}
AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def per_channel(vector, rank):
    """A vector along axis 1 of a value of this rank (one element: everywhere)."""
    return vector.reshape([1, vector.shape[0]] + [1] * (rank - 2)) if len(vector) > 1 else vector.reshape([1] * rank)


class Polynomial(nn.Module):
    """A polynomial with trainable coefficients, one for the layer or one for each channel (axis 1).

    `norm`: a batch norm that brings the input to [-1, 1], and does nothing else at first; `deployed` folds it away.
    """

    # |t + shift| of the completed square stays below 1 + STEEPEST: a straight line as a square would cancel.
    STEEPEST = 8.0

    def __init__(self, degree, channels=1, norm=None):
        super().__init__()
        if degree < 2:
            raise ValueError(f"a polynomial of degree {degree} is no activation")
        self.degree = degree
        self.norm = norm
        self.rank = 0  # of the values it is applied to
        self.register_buffer("centre", torch.zeros(channels))  # with `norm`, this is its task
        self.register_buffer("width", torch.ones(channels))
        self.coefficients = nn.Parameter(torch.zeros(degree + 1, channels))
        self.outside = None  # how far inputs were out of the range, of the last forward pass while training

    def scaled(self, x):
        """The input of the polynomial: [-1, 1] is the calibrated range."""
        if self.norm is not None:
            return self.norm(x)
        return (x - per_channel(self.centre, x.ndim)) / per_channel(self.width, x.ndim)

    def basis(self, t):
        """The Chebyshev polynomials of t, each with the least depth: T(a+b) = 2 T(a) T(b) - T(a-b)."""
        found = [1.0, t]
        for k in range(2, self.degree + 1):
            a, b = (k + 1) // 2, k // 2
            found.append(2 * (found[a] * found[b]) - found[a - b])
        return found

    def weights(self):
        """The coefficients; the square never so small that completing it would cancel."""
        if self.degree != 2:
            return list(self.coefficients)
        c0, c1, c2 = self.coefficients
        least = c1.detach().abs() / (4 * self.STEEPEST) + 1e-6
        return [c0, c1, torch.where(c2.abs() < least, torch.where(c2 < 0, -least, least), c2)]

    def forward(self, x):
        t = self.scaled(x)
        if self.training:
            part = t[:: max(1, len(t) // 32)]
            self.outside = F.relu(part.abs() - 1).square().mean()
        if self.degree == 2:
            c0, c1, c2 = (per_channel(c, x.ndim) for c in self.weights())
            return torch.addcmul(c0 - c2, torch.addcmul(c1, 2 * c2, t), t)
        return sum(per_channel(c, x.ndim) * b for c, b in zip(self.weights(), self.basis(t)))

    @torch.no_grad()
    def fit(self, x, target, pool=None, margin=0.1):
        """Least squares on samples: what `pool` makes of the polynomial of `x` shall be `target`."""
        self.rank = x.ndim
        rows = x.transpose(0, 1).flatten(1) if self.centre.numel() > 1 else x.reshape(1, -1)
        low, high = rows.amin(1), rows.amax(1)
        self.centre.copy_((low + high) / 2)
        self.width.copy_(((high - low) / 2 * (1 + margin)).clamp_min(1e-2))
        t = (x - per_channel(self.centre, x.ndim)) / per_channel(self.width, x.ndim)
        if self.norm is not None:
            axes = [0] + list(range(2, x.ndim))
            mean, var = x.mean(axes), x.var(axes, unbiased=False).clamp_min(1e-4)
            self.norm.running_mean.copy_(mean)
            self.norm.running_var.copy_(var)
            self.norm.weight.copy_((var + self.norm.eps).sqrt() / self.width)
            self.norm.bias.copy_((mean - self.centre) / self.width)
        columns = [torch.ones_like(t), *self.basis(t)[1:]]
        columns = columns if pool is None else [pool(column) for column in columns]
        split = (lambda v: v.transpose(0, 1).flatten(1)) if self.centre.numel() > 1 else (lambda v: v.reshape(1, -1))
        matrix = torch.stack([split(c) for c in columns], 2).double()  # channels x samples x (degree + 1)
        normal = matrix.mT @ matrix / matrix.shape[1] + 1e-6 * torch.eye(self.degree + 1, dtype=torch.double)
        moment = matrix.mT @ split(target).double()[:, :, None] / matrix.shape[1]
        self.coefficients.copy_(torch.linalg.solve(normal, moment)[:, :, 0].T)
        return self


def pool_for(maximum, dims, channels, kind):
    """What stands in for a max pool: its average, or a depthwise convolution that starts as the average."""
    size = [getattr(maximum, name) for name in ("kernel_size", "stride", "padding", "dilation")]
    kernel, stride, padding, dilation = [(v,) * dims if isinstance(v, int) else tuple(v) for v in size]
    if kind == "conv":
        conv = CONVOLUTIONS[dims](channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
        if maximum.ceil_mode:
            raise ValueError("a max pool with ceil_mode cannot become a convolution: use pool='average'")
        nn.init.constant_(conv.weight, 1 / math.prod(kernel))
        return conv
    if any(d != 1 for d in dilation):
        raise ValueError("a dilated max pool cannot become an average: use pool='conv'")
    return AVERAGE_POOLS[dims](kernel, stride, padding, maximum.ceil_mode, count_include_pad=False)


class Site(nn.Module):
    """A place in the network: the `original` (activation, max pool or both), and `polynomial` and `pool` instead."""

    def __init__(self, original, polynomial, pool):
        super().__init__()
        self.original, self.polynomial, self.pool = original, polynomial, pool
        self.replaced = False

    def forward(self, x):
        if not self.replaced:
            return self.original(x)
        if self.polynomial is not None:
            x = self.polynomial(x)
        return x if self.pool is None else self.pool(x)

    def replace(self, x, margin=0.1):
        """From now on compute the polynomial, fitted to these inputs."""
        self.replaced = True
        if self.polynomial is not None:
            with torch.no_grad():
                self.polynomial.fit(x, self.original(x), self.pool, margin)


def sites(net):
    return [module for module in net.modules() if isinstance(module, Site)]


def arguments(function, node):
    """The settings of a call, as the module of the same name takes them."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # written in C: its settings have to be named in the call
        names = ["input"]
    given = {**dict(zip(names, node.args)), **node.kwargs}
    skip = ("input", "inplace", "return_indices")
    return {k: v for k, v in given.items() if k not in skip and isinstance(v, (int, float, str, bool, tuple))}


def module_of(traced, node):
    """The activation or max pool that this node of the graph is, as a module, or None."""
    if node.op == "call_module":
        module = traced.get_submodule(node.target)
        return module if isinstance(module, ACTIVATIONS + tuple(MAX_POOLS)) else None
    if node.op == "call_method" and node.target in METHODS:
        return METHODS[node.target]()
    if node.op != "call_function":
        return None
    if node.target in FUNCTIONS:
        kind = FUNCTIONS[node.target]
        return kind(**{k: v for k, v in arguments(node.target, node).items() if k in inspect.signature(kind).parameters})
    for function, kind in MAX_POOL_FUNCTIONS.items():
        if node.target in (function, getattr(torch, function.__name__, None)):
            names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
            given = {**dict(zip(names, node.args)), **node.kwargs}
            return kind(**{k: v for k, v in given.items() if k in names[1:] and v is not None})
    return None


def as_tuple(samples):
    return tuple(samples) if isinstance(samples, (tuple, list)) else (samples,)


@torch.no_grad()
def inputs_of(net, site, samples):
    """What arrives at a site."""
    seen = []
    hook = site.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    training = net.training
    net.eval()
    for row in zip(*(value.split(256) for value in as_tuple(samples))):
        net(*row)
    hook.remove()
    net.train(training)
    return torch.cat(seen)


def refit(net, site, samples, margin=0.1):
    """Replace one site, with its polynomial fitted to what arrives there now."""
    site.replace(inputs_of(net, site, samples), margin)


def swap(model, samples, degree=None, per="channel", pool="conv", norm=True, margin=0.1, replaced=True):
    """A copy of the model with a `Site` for every activation and max pool.

    samples    inputs to calibrate with: a tensor, or a tuple of tensors for a model of several inputs (some hundred)
    degree     of the polynomials: 2 unless given (3 for sigmoid, tanh and what is like them); a dict sets it by class
    per        coefficients "channel" by channel or one for the "layer"
    pool       max pools become "average" pools or depthwise "conv"olutions that start as the average
    norm       a batch norm before each polynomial, if it has none before it
    margin     by how much the range that the samples show is widened
    replaced   False: the polynomials are there but not yet used (`finetune` replaces them one after the other)
    """
    if per not in ("channel", "layer") or pool not in ("average", "conv"):
        raise ValueError(f"per={per!r}, pool={pool!r}: expected channel or layer, average or conv")
    traced = torch.fx.symbolic_trace(copy.deepcopy(model).eval())
    count, gone = 0, set()
    for node in list(traced.graph.nodes):
        found = module_of(traced, node) if node not in gone else None
        if found is None:
            continue
        if hasattr(found, "inplace"):
            found = copy.deepcopy(found)
            found.inplace = False
        users = list(node.users)
        following = module_of(traced, users[0]) if len(users) == 1 else None
        joined = type(found) not in MAX_POOLS and type(following) in MAX_POOLS
        original = nn.Sequential(found, following) if joined else found
        maximum = following if joined else found if type(found) in MAX_POOLS else None
        last = users[0] if joined else node

        name = f"polynomial{count}"
        traced.add_submodule(name, Site(original, None, None))
        with traced.graph.inserting_after(last):
            new = traced.graph.call_module(name, (node.args[0],))
        last.replace_all_uses_with(new)
        for old in ([users[0]] if joined else []) + [node]:
            traced.graph.erase_node(old)
            gone.add(old)
        traced.recompile()

        site = traced.get_submodule(name)
        x = inputs_of(traced, site, tuple(s[:256] for s in as_tuple(samples)))
        channels = x.shape[1]
        if maximum is not None:
            site.pool = pool_for(maximum, MAX_POOLS[type(maximum)], channels, pool)
        if maximum is None or joined:
            asked = degree.get(type(found)) if isinstance(degree, dict) else degree
            before = new.args[0]
            has_norm = before.op == "call_module" and isinstance(
                traced.get_submodule(before.target), nn.modules.batchnorm._BatchNorm
            )
            normed = norm and not has_norm and x.ndim in BATCH_NORMS
            site.polynomial = Polynomial(
                asked or (3 if isinstance(found, ODD) else 2),
                channels if per == "channel" else 1,
                BATCH_NORMS[x.ndim](channels) if normed else None,
            )
        refit(traced, site, samples, margin)
        count += 1
    for site in sites(traced):
        site.replaced = replaced
    traced.delete_all_unused_submodules()
    return traced


def range_penalty(net):
    """How far values left the calibrated ranges in the last forward pass of training (it can be asked for once)."""
    total = torch.zeros(())
    for polynomial in [site.polynomial for site in sites(net) if site.polynomial is not None]:
        if polynomial.outside is not None:
            total, polynomial.outside = total + polynomial.outside, None
    return total


def first(outputs):
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def finetune(
    net, epoch, epochs, samples=None, stage_epochs=0, teacher=None, loss=F.cross_entropy, distill=0.5, temperature=2.0,
    lr=1e-3, weight_decay=0.0, penalty=0.2, wall=15.0, average=0.998, steps_per_epoch=None, after=None,
):
    """Train a network of `swap`, and return a moving average of it.

    epoch          a function that gives an iterable of (inputs, labels); inputs may be a tuple
    stage_epochs   with more than 0, and `samples` to fit with: replace the sites one after the other, first to last,
                   with so many epochs of training after each; `epochs` are those after the last
    teacher        the original model: `distill` of the loss is to answer as it does, at this `temperature`
    loss           of (first output, labels)
    penalty        weight of values that leave their calibrated range, and of outputs beyond `wall`
    after          called after each epoch with a line about it (dict), the network and the average
    """
    todo = [s for s in sites(net) if not s.replaced] if stage_epochs else []
    if stage_epochs and samples is None:
        raise ValueError("stage_epochs needs samples to fit the polynomials with")
    total = stage_epochs * max(len(todo) - 1, 0) + epochs
    steps = steps_per_epoch or sum(1 for _ in epoch())
    decay = [p for p in net.parameters() if p.ndim > 1 and p.requires_grad]
    small = [p for p in net.parameters() if p.ndim <= 1 and p.requires_grad]
    polynomials = {id(s.polynomial.coefficients) for s in sites(net) if s.polynomial is not None}
    free = small + [p for p in decay if id(p) in polynomials]
    decay = [p for p in decay if id(p) not in polynomials]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}], lr=lr
    )
    warm = max(1, min(200, steps * total // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: (s + 1) / warm
        if s < warm
        else 0.5 * (1 + math.cos(math.pi * min(1.0, (s - warm) / max(1, steps * total - warm)))),
    )
    if teacher is not None:
        teacher.eval()
    mean, step = None, 0
    for number in range(total):
        if todo and number % max(stage_epochs, 1) == 0:
            refit(net, todo.pop(0), samples)
            mean = None
        if mean is None:
            mean, step = copy.deepcopy(net), 0
        net.train()
        sums = [0.0, 0.0, 0]
        for x, y in epoch():
            x = as_tuple(x)
            outputs = first(net(*x))
            value = loss(outputs, y)
            if teacher is not None and distill > 0:
                with torch.no_grad():
                    wanted = F.log_softmax(first(teacher(*x)) / temperature, 1)
                said = F.log_softmax(outputs / temperature, 1)
                same = F.kl_div(said, wanted, reduction="batchmean", log_target=True)
                value = (1 - distill) * value + distill * temperature**2 * same
            outside = range_penalty(net)
            held = penalty * (outside + 0.05 * F.relu(outputs.abs() - wall).square().mean())
            optimizer.zero_grad()
            (value + held).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            keep = min(average, (1 + step) / (10 + step))
            with torch.no_grad():
                for a, b in zip(mean.state_dict().values(), net.state_dict().values()):
                    if a.dtype.is_floating_point:
                        a.lerp_(b, 1 - keep)
                    else:
                        a.copy_(b)
            sums = [sums[0] + value.item(), sums[1] + outside.item(), sums[2] + 1]
        if after is not None:
            line = dict(epoch=number + 1, loss=round(sums[0] / sums[2], 4), outside=round(sums[1] / sums[2], 6))
            after(line, net, mean)
    return mean


class Deployed(nn.Module):
    """A polynomial as the ONNX file has it. Of degree 2: `factor * (scale * x + shift)^2 + offset`, one product deep."""

    def __init__(self, polynomial):
        super().__init__()
        norm = polynomial.norm
        scale, shift = 1 / polynomial.width.double(), -polynomial.centre.double() / polynomial.width.double()
        if norm is not None:
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            shift = norm.bias.double() - norm.running_mean.double() * scale
        weights = [c.detach().double() for c in polynomial.weights()]
        self.degree, factor, offset = polynomial.degree, None, None
        if self.degree == 2:
            # c0 + c1 t + c2 (2 t^2 - 1) = 2 c2 (t + c1 / (4 c2))^2 + the rest; the size of 2 c2 goes into the scale.
            c0, c1, c2 = weights
            size = (2 * c2.abs()).sqrt()
            scale, shift = scale * size, (shift + c1 / (4 * c2)) * size
            offset, factor = c0 - c2 - c1 * c1 / (8 * c2), c2.sign() if (c2 < 0).any() else None
            weights = []
        for name, value in (("scale", scale), ("shift", shift), ("offset", offset), ("factor", factor)):
            self.register_buffer(name, None if value is None else value.detach().float())
        self.register_buffer("weights", torch.stack(weights).float() if weights else None)

    def forward(self, x):
        if self.scale is not None:
            x = x * per_channel(self.scale, x.ndim) + per_channel(self.shift, x.ndim)
        if self.degree == 2:
            x = x * x
            if self.factor is not None:
                x = x * per_channel(self.factor, x.ndim)
            return x + per_channel(self.offset, x.ndim)
        basis = Polynomial.basis(self, x)
        y = basis[1] * per_channel(self.weights[1], x.ndim) + per_channel(self.weights[0], x.ndim)
        for k in range(2, self.degree + 1):
            y = y + basis[k] * per_channel(self.weights[k], x.ndim)
        return y


def fold_into(layer, scale, shift):
    """The layer, with its results scaled and shifted channel by channel."""
    layer = copy.deepcopy(layer)
    weight = layer.weight.detach().double()
    bias = torch.zeros(len(weight), dtype=torch.double) if layer.bias is None else layer.bias.detach().double()
    layer.weight = nn.Parameter((weight * scale.reshape([-1] + [1] * (weight.ndim - 1))).float())
    layer.bias = nn.Parameter((bias * scale + shift).expand(len(weight)).float())
    return layer


LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity)


def deployed(net):
    """A copy of a network of `swap` for inference: batch norms folded, no dropout, polynomials written out.

    What scales and shifts the operand of a polynomial goes into the convolution or dense layer before it, if nothing
    else reads that. What does so behind it stays, as sums and products with constants: hec takes them into the next layer.
    """
    net = copy.deepcopy(net).eval()
    targets = [node.target for node in net.graph.nodes if node.op == "call_module"]
    for node in list(net.graph.nodes):
        if node.op != "call_module":
            continue
        before, module = node.args[0], net.get_submodule(node.target)
        if isinstance(module, DROPOUTS):
            node.replace_all_uses_with(before)
            net.graph.erase_node(node)
            continue
        layer = net.get_submodule(before.target) if before.op == "call_module" else None
        foldable = isinstance(layer, LINEAR) and len(before.users) == 1 and targets.count(before.target) == 1
        if isinstance(module, Site):
            if not module.replaced:
                raise ValueError(f"{node.target} still is {module.original}")
            parts = [module.pool] if module.pool is not None else []
            if module.polynomial is not None:
                polynomial = Deployed(module.polynomial)
                dense_of_rows = isinstance(layer, nn.Linear) and module.polynomial.rank != 2
                if foldable and not dense_of_rows:
                    net.set_submodule(before.target, fold_into(layer, polynomial.scale.double(), polynomial.shift.double()))
                    polynomial.scale = polynomial.shift = None
                parts.insert(0, polynomial)
            net.set_submodule(node.target, nn.Sequential(*parts))
        elif foldable and isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
            net.set_submodule(before.target, fuse(layer, module))
            node.replace_all_uses_with(before)
            net.graph.erase_node(node)
    net.recompile()
    net.delete_all_unused_submodules()
    return net


# What is arithmetic, or moves elements.
ALLOWED = {
    "Add", "Sub", "Mul", "Sum", "Neg", "Conv", "ConvTranspose", "Gemm", "MatMul", "AveragePool", "GlobalAveragePool",
    "ReduceMean", "ReduceSum", "BatchNormalization", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat",
    "Slice", "Split", "Pad", "Identity", "Constant", "Shape", "Gather", "Cast", "Dropout", "DepthToSpace",
    "SpaceToDepth", "Resize", "Expand", "Tile", "ConstantOfShape",
}


def export(net, sample, path, opset=17, input_names=None, output_names=None):
    """Write a network of `swap` as ONNX with an open batch dimension, and check that only arithmetic is left."""
    import onnx

    sample = as_tuple(sample)
    net = deployed(net)
    with torch.no_grad():
        outputs = len(as_tuple(net(*sample)))
    inputs = input_names or (["input"] if len(sample) == 1 else [f"input{i}" for i in range(len(sample))])
    outputs = output_names or (["output"] if outputs == 1 else [f"output{i}" for i in range(outputs)])
    extra = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(
        net, sample, path, opset_version=opset, input_names=inputs, output_names=outputs,
        dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)}, **extra,
    )
    left = sorted({node.op_type for node in onnx.load(path).graph.node} - ALLOWED)
    if left:
        raise ValueError(f"{path} still has {', '.join(left)}: `swap` has no polynomial for it")
