"""Write a trained network as ONNX: batch normalisation folded, opset 17, symbolic batch size.

    python models/training/export.py --weights WORK/cryptonets-mnist.pt --model cryptonets --out models/cryptonets-mnist.onnx
"""

import argparse
import inspect

import torch

from nets import NETS, folded


def export(net, path, opset=17):
    """Use torch's TorchScript exporter, the only one of torch 1.x."""
    extra = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(
        folded(net),
        (torch.zeros(1, 1, 28, 28),),
        path,
        opset_version=opset,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        **extra,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--model", choices=sorted(NETS), required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    net = NETS[args.model]()
    net.load_state_dict(torch.load(args.weights, map_location="cpu"))
    export(net, args.out)


if __name__ == "__main__":
    main()
