import subprocess
import sys

SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
import torch
{before}
from unlearning.torchvision_shim import ensure_torchvision
ensure_torchvision()
import timm, torchvision
ensure_torchvision()
assert torch.ops.torchvision.nms.default._schema.name == "torchvision::nms"
{after}
"""
WHOLE = """
try:
    import torchvision
except RuntimeError:
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
INACTIVE = "import unlearning.torchvision_shim as shim; assert shim._library is None"


def run(**parts):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(**parts)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_timm_imports_whatever_torchvision_lacks():
    run(before="", after="")


def test_the_shim_stays_out_where_the_operators_exist():
    run(before=WHOLE, after=INACTIVE)
