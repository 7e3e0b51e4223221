"""A downstream team has torch, numpy, safetensors and fsspec, and none of our other dependencies."""

import subprocess
import sys

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run(blocked: set[str], code: str) -> str:
    script = f"BLOCKED = {blocked!r}\n{BLOCK}\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_need_only_the_light_dependencies() -> None:
    others = {"scipy", "sklearn", "tqdm", "tyro", "zarr", "pandas", "pyarrow", "webdataset", "data_shards", "pretrain"}
    code = "import harnet; print(sorted(harnet.create_model('harnet10', num_classes=2).state_dict())[0])"
    assert run(others, code) == "classifier.linear1.bias\n"


def test_errors_and_names_need_no_torch() -> None:
    modules = "harnet, harnet.errors, harnet.files, harnet.run_folder"
    code = f"import {modules}; print(harnet.HarnetError.__name__, bool(harnet.__version__))"
    assert run({"torch", "numpy", "safetensors", "fsspec"}, code) == "HarnetError True\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    assert run(set(), "import harnet; print(hasattr(harnet, 'nonsense'))") == "False\n"


def test_the_package_itself_imports_nothing_and_a_model_what_torch_brings() -> None:
    script = """
import sys, torch, numpy, safetensors.torch, fsspec
before = {name.split(".")[0] for name in sys.modules}
import harnet
model = harnet.create_model("harnet5", num_classes=2)
print({name.split(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names) == {"harnet"})
"""
    assert run(set(), script) == "True\n"
    script = "import sys, typing; old = set(sys.modules); import harnet; print(sorted(set(sys.modules) - old))"
    assert run(set(), script) == "['harnet', 'harnet.errors']\n"
