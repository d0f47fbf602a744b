"""The architectures. Batch normalisation is there while training and folded into the
convolution or dense layer before it at export (`folded`)."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


class Square(nn.Module):
    def forward(self, x):
        return x * x


class CryptoNets(nn.Module):
    """The network of Gilad-Bachrach et al. (ICML 2016): squares instead of ReLU, mean pooling,
    so that every layer is a polynomial of degree at most 2."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 5, stride=2, padding=1)  # 5 x 13 x 13
        self.bn1 = nn.BatchNorm2d(5)
        self.square1 = Square()
        self.pool1 = nn.AvgPool2d(3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(5, 50, 5, stride=2)  # 50 x 5 x 5
        self.bn2 = nn.BatchNorm2d(50)
        self.pool2 = nn.AvgPool2d(3, stride=1, padding=1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(1250, 100)
        self.bn3 = nn.BatchNorm1d(100)
        self.square2 = Square()
        self.fc2 = nn.Linear(100, 10)

    def features(self, x):
        """The logits, and the values before each non-linear layer."""
        a = self.bn1(self.conv1(x))
        x = self.pool1(self.square1(a))
        x = self.pool2(self.bn2(self.conv2(x)))
        b = self.bn3(self.fc1(self.flatten(x)))
        return self.fc2(self.square2(b)), (a, b)

    def forward(self, x):
        return self.features(x)[0]


class Classical(nn.Module):
    """A small LeNet: two convolutions with ReLU and 3x3 max pooling of stride 2, one dense layer."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)  # 16 x 28 x 28
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)  # 16 x 14 x 14
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)  # 32 x 14 x 14
        self.bn2 = nn.BatchNorm2d(32)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)  # 32 x 7 x 7
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1568, 10)

    def features(self, x):
        """As forward, but with each ReLU after its max pooling: the same values for less work."""
        a = self.bn1(self.conv1(x))
        b = self.bn2(self.conv2(self.relu1(self.pool1(a))))
        x = self.flatten(self.relu2(self.pool2(b)))
        return self.fc(self.dropout(x)), (a, b)

    def forward(self, x):
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.pool2(self.relu2(self.bn2(self.conv2(x))))
        return self.fc(self.dropout(self.flatten(x)))


def unit(inputs, outputs, kernel, stride=1, groups=1):
    """A convolution and its batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class InvertedResidual(nn.Module):
    """The block of MobileNetV2 (Sandler et al., CVPR 2018): expand, depthwise, project; with a shortcut where shapes allow it."""

    def __init__(self, inputs, outputs, stride, factor=2):
        super().__init__()
        wide = factor * inputs
        self.expand, self.act1 = unit(inputs, wide, 1), nn.ReLU6()
        self.depthwise, self.act2 = unit(wide, wide, 3, stride, wide), nn.ReLU6()
        self.project = unit(wide, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.act2(self.depthwise(self.act1(self.expand(x)))))
        return x + y if self.shortcut else y


class MobileNet(nn.Module):
    """The shape of MobileNetV2 at the size of Fashion-MNIST: depthwise convolutions, ReLU6, residual sums."""

    def __init__(self):
        super().__init__()
        self.stem, self.act = unit(1, 8, 3, 2), nn.ReLU6()  # 8 x 14 x 14
        self.blocks = nn.Sequential(
            InvertedResidual(8, 8, 1), InvertedResidual(8, 16, 2), InvertedResidual(16, 16, 1)  # 16 x 7 x 7
        )
        self.head, self.act2 = unit(16, 64, 1), nn.ReLU6()
        self.pool, self.flatten, self.fc = nn.AvgPool2d(7), nn.Flatten(), nn.Linear(64, 10)

    def features(self, x):
        x = self.head(self.blocks(self.act(self.stem(x))))
        return self.fc(self.flatten(self.pool(self.act2(x)))), ()

    def forward(self, x):
        return self.features(x)[0]


NETS = {"cryptonets": CryptoNets, "classical": Classical, "mobilenet": MobileNet}


def folded(net):
    """A copy for inference: batch normalisation folded into the layer before it, no dropout."""
    net = copy.deepcopy(net).eval().to(memory_format=torch.contiguous_format)
    for name, module in list(net.named_modules()):
        if name.startswith("bn"):
            layer = {"bn1": "conv1", "bn2": "conv2", "bn3": "fc1"}[name]
            fuse = fuse_linear_bn_eval if layer == "fc1" else fuse_conv_bn_eval
            setattr(net, layer, fuse(getattr(net, layer), module))
            setattr(net, name, nn.Identity())
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            parent = net.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], fuse_conv_bn_eval(module[0], module[1]))
    if hasattr(net, "dropout"):
        net.dropout = nn.Identity()
    return net
