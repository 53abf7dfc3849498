"""The package needs torch, the library does not."""

import subprocess
import sys


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


def test_the_library_is_imported_without_torch_and_the_package_says_how_to_get_it():
    done = run("import sys; sys.modules['torch'] = None\nimport ghostpoint\nprint('here')\nghostpoint.torch")
    assert done.stdout == "here\n"
    assert done.stderr.rstrip().endswith("ghostpoint.torch needs PyTorch: pip install 'ghostpoint[torch]'")


def test_the_library_imports_torch_only_where_asked():
    there = "print('torch' in sys.modules)"
    done = run(f"import sys, ghostpoint as gp; gp.diagnose; {there}; gp.torch.Monitor; {there}")
    assert done.stdout.split() == ["False", "True"]


def test_a_missing_framework_gives_the_line_that_installs_it():
    missing = "import sys\nfor name in ('lightning', 'pytorch_lightning', 'transformers'): sys.modules[name] = None\n"
    for name, line in (("lightning", "pip install lightning"), ("transformers", "pip install transformers accelerate")):
        done = run(f"{missing}import ghostpoint.torch.{name}")
        assert done.stderr.rstrip().endswith(line), done.stderr
