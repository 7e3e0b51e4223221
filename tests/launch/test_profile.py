import shlex
import subprocess
from pathlib import Path

import pytest

from harnet.errors import HarnetError
from launch.batch import BatchJob, environment_of
from launch.profile import PROFILES, Profile, read
from launch.shared_files import check_shared, file_system


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.name)
def test_every_profile_in_the_repository_is_valid(path: Path) -> None:
    assert read(path).partition


def test_without_a_file_everything_is_the_clusters_default() -> None:
    assert read(None) == Profile()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('partiton = "gpu"', "'partiton' is not a profile setting; one of: partition, account"),
        ("partition = 3", "partition is 3; it must be a string"),
        ('minutes = "24:00"', "minutes is '24:00'; it must be an integer"),
        ("minutes = true", "minutes is True; it must be an integer"),
        ("modules = ['cuda', 12]", "modules is ['cuda', 12]; it must be a list of strings"),
        ("environment = 'NCCL_DEBUG'", "environment is 'NCCL_DEBUG'; it must be a table"),
        ("minutes = 0", "minutes is 0; it must be at least 1"),
        ("minutes = 5\nsignal_seconds = 300", "signal_seconds is 300; it must lie within the 5 minutes of a start"),
        ("partition = ", "not TOML"),
        (
            'account = "a\\n#SBATCH --exclude=n1"',
            "account is 'a\\n#SBATCH --exclude=n1'; it must not contain a line break",
        ),
        ('modules = ["cuda\\rrm"]', "modules is 'cuda\\rrm'; it must not contain a line break"),
        ('environment = {"A; rm -rf ~" = "1"}', "environment: 'A; rm -rf ~' is not a variable name"),
        ('environment = {A = "1\\n2"}', "environment is '1\\n2'; it must not contain a line break"),
        ('sbatch = {"exclude=n1\\nrm" = "x"}', "is not an option"),
        ('sbatch = {comment = "a\\u2028b"}', "it must not contain a line break"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_file_and_value(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(HarnetError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(HarnetError, match="no such site profile"):
        read(tmp_path / "missing.toml")


def test_a_file_system_is_the_one_mounted_nearest(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "disk / ext4 rw 0 0\nserver:/s /scratch nfs4 rw 0 0\n"
        "tmp /scratch/local tmpfs rw 0 0\nfs /a\\040b lustre rw 0 0\n"
    )
    for path, kind in (("/home/me", "ext4"), ("/scratch/run", "nfs4"), ("/scratch", "nfs4"), ("/scratches", "ext4"),
                       ("/scratch/local/x", "tmpfs"), ("/a b/run", "lustre")):  # fmt: skip
        assert file_system(Path(path), mounts)[0] == kind, path


def test_a_local_disk_is_refused_unless_the_profile_knows_better(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"the run folder is on .* a local disk"):
        check_shared("run folder", Path("/dev/shm/run"), ())
    check_shared("run folder", tmp_path / "run", (str(tmp_path),))


def test_a_virtual_environment_is_where_it_lies_and_not_where_its_link_leads(tmp_path: Path) -> None:
    interpreter = tmp_path / "venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to("/usr/bin/python3")
    folder = environment_of(Profile(python=str(interpreter)))
    assert folder == interpreter.parent
    check_shared("Python environment", folder, (str(tmp_path),))


def test_a_folder_with_a_per_cent_sign_is_one_that_slurm_does_not_change(tmp_path: Path) -> None:
    script = BatchJob(tmp_path / "50%u of it", Profile(), "harnet-run", ["true"], {"nodes": "1"}).script
    (line,) = [line for line in script.splitlines() if line.startswith("#SBATCH --output=")]
    assert shlex.split(line)[1] == f"--output={tmp_path}/50%%u of it/%j.log"


def test_what_goes_into_a_script_is_a_line_each(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"job: name is 'harnet-a\\nrm'; it must not contain a line break"):
        BatchJob(tmp_path, Profile(), "harnet-a\nrm", ["true"], {})
    with pytest.raises(HarnetError, match=r"job: log folder .* a line break"):
        BatchJob(tmp_path / "a\nb", Profile(), "harnet-a", ["true"], {})
    command = ["python", "a file\nof two lines", "$HOME"]
    script = BatchJob(tmp_path, Profile(setup=("true\ntrue",)), "harnet-a", command, {}).script
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.join(command) in script


def test_no_job_takes_a_password_in_an_option(tmp_path: Path) -> None:
    batch = BatchJob(tmp_path, Profile(), "harnet-embed", ["embed", "--weights", "https://me:s3cret@host/w"], {})
    with pytest.raises(HarnetError, match="would be readable by others in the batch script") as caught:
        batch.check()
    assert "s3cret" not in str(caught.value)
