#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Every check and every run of Cairn, one session each; `nox -l` lists them, `nox` runs the default ones.

A session is a convenience: it installs from the lock and then runs one or two commands that a person can type too.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "constraints.txt"
PYPROJECT = nox.project.load_toml("pyproject.toml")
# Newest releases that rliable runs with: its bootstrap (arch below 8) breaks on pandas 3, which the lock names.
RLIABLE = ("rliable==1.2.0", "arch==7.2.0", "pandas==2.3.3")
TORCHRL = "torchrl==0.14.1"
TRL = "trl==1.16.0"
VERL = "verl==0.9.1"
# What `verl.trainer.ppo.core_algos` imports beside torch; the ranges are verl's own.
VERL_NEEDS = ("codetiming==1.4.0", "omegaconf==2.4.0", "ray==2.60.0", "tensordict==0.10.0", "transformers==5.10.4")
# Small models gain nothing from a second thread, and no check may depend on a model hub.
OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout of all Python code; `nox -s lint -- --fix` repairs what it can."""
    _install(session, groups=["lint"])
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy in strict mode."""
    _install(session, "-e.[run]", groups=["test", "types"])
    session.run("mypy", *session.posargs)


@nox.session
def validate(session: nox.Session) -> None:
    """Check every entry of the inventory, on the base install, which has no torch."""
    _install(session, "-e.")
    session.run("cairn", "validate", *session.posargs)


@nox.session
def schemas(session: nox.Session) -> None:
    """Check that committed schemas and checklists are what the models say; `nox -s schemas -- --write` renews them."""
    _install(session, "-e.")
    session.run("python", ".ci/schemas.py", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Generate the pages and build the site into `site/`; any warning is an error."""
    _install(session, "-e.", groups=["docs"])
    session.run("cairn", "site", *session.posargs)
    session.run("mkdocs", "build", "--strict")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, then use the wheel outside the checkout: bare, and with the extra `run`."""
    _install(session, groups=["build"])
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--no-isolation")
    (built,) = (ROOT / "dist").glob("*.whl")
    _check_contents(session, built)
    with tempfile.TemporaryDirectory() as outside:
        session.run("python", "-m", "venv", f"{outside}/venv")
        with session.chdir(outside):
            _use_bare(session, built)
            _use_run(session, built)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on all cores, up to eight; arguments go to pytest."""
    _install(session, "-e.[export,run]", groups=["docs", "test"])
    # By file: what a module's tests share is made once.
    session.run("pytest", "-n", "auto", "--maxprocesses", "8", "--dist", "loadfile", *session.posargs, env=OFFLINE)


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Look at the built site in Chromium, at the width of a desk and of a phone."""
    _install(session, "-e.", groups=["browser", "docs", "test"])
    session.run("pytest", "tests/site/test_browser.py", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Search for an input that breaks the loader, guided by coverage: `nox -s fuzz -- --seconds 120`."""
    _install(session, "-e.", groups=["fuzz", "test"])
    session.run("python", "-m", "tests.inventory.fuzz.guided", *session.posargs)


@nox.session(default=False)
def model(session: nox.Session) -> None:
    """Make the embedded model again from its recipe and compare it with the shipped one, bit for bit."""
    _install(session, "-e.[run]", groups=["test"])
    session.run("pytest", "tests/lab/test_model.py", "-m", "rebuild", *session.posargs, env=OFFLINE)


@nox.session(default=False)
def check(session: nox.Session) -> None:
    """Do everything for one method: `nox -s check -- gigpo`."""
    if len(session.posargs) != 1:
        session.error("Say which method: nox -s check -- ID")
    (method,) = session.posargs
    _install(session, "-e.[run]", groups=["test"])
    session.run("cairn", "validate", method)
    session.run("pytest", "-k", f"{method} or {method.replace('-', '_')}", env=OFFLINE)
    _smoke(session, [method])


@nox.session(default=False)
def smoke(session: nox.Session) -> None:
    """Run the reproductions named, or all of them, at the preset that takes seconds; the records are thrown away."""
    _install(session, "-e.[run,tasks]")
    _smoke(session, session.posargs or sorted(path.parent.name for path in ROOT.glob("reproductions/*/reproduce.py")))


@nox.session(default=False)
def reproduce(session: nox.Session) -> None:
    """Run a reproduction, `nox -s reproduce -- gigpo --preset cpu --seeds 5`, or each: `-- all --preset smoke`."""
    _install(session, "-e.[run,tasks]")
    session.run("cairn", "run", *session.posargs)


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Compute effects, intervals and verdicts from the records; arguments go to `cairn report`."""
    _install(session, "-e.[run]")
    session.run("cairn", "report", *session.posargs)


@nox.session(name="oracle-stats", default=False)
def oracle_stats(session: nox.Session) -> None:
    """Compare the statistics with rliable and scipy, in an environment of its own: rliable fails on a newer pandas."""
    free = {line.partition("==")[0] for line in RLIABLE}
    kept = [line for line in LOCK.read_text().splitlines() if line.partition("==")[0] not in free]
    lock = Path(session.create_tmp()) / "constraints.txt"
    lock.write_text("\n".join([*kept, *RLIABLE]) + "\n")
    session.install("-c", str(lock), "-e.", *_group("test"), "rliable")
    session.run("pytest", "tests/evidence/test_stats_oracle.py", *session.posargs, env=OFFLINE)


@nox.session(name="oracle-torchrl", default=False)
def oracle_torchrl(session: nox.Session) -> None:
    """Compare GAE and TD(lambda) with torchrl; `-- --write` renews its table in docs/semantics.md."""
    _install(session, "-e.", "torch", TORCHRL, groups=["test"])
    _ask_oracle(session, "torchrl")


@nox.session(name="oracle-verl", default=False)
def oracle_verl(session: nox.Session) -> None:
    """Compare group comparisons, GAE and REINFORCE++ with verl; `-- --write` renews its table in docs/semantics.md."""
    _install_verl(session)
    _ask_oracle(session, "verl")


@nox.session(default=False)
def ray(session: nox.Session) -> None:
    """Run the back end on Ray: a cluster of two nodes on this machine, one of which is killed; takes minutes."""
    _install(session, "-e.[ray]", groups=["test"])
    # Ray leaves the processes and sockets of its clusters to the end of the session.
    quiet = ("-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    session.run("pytest", "tests/distributed/test_ray.py", *quiet, *session.posargs, env=OFFLINE)


@nox.session(name="open-tasks", default=False)
def open_tasks(session: nox.Session) -> None:
    """Run the tests of the tasks of free text, and of TextWorld's games, with the packages that they need."""
    _install(session, "-e.[tasks,textworld]", groups=["test"])
    own = [f"tests/lab/test_{name}.py" for name in ("gym", "gsm8k", "textworld")]
    session.run("pytest", *own, *session.posargs, env=OFFLINE)
    session.run("pytest", "tests/lab/test_tasks.py", "tests/lab/test_optimal.py", "-k", "textworld", env=OFFLINE)


@nox.session(name="bench-credit", default=False)
def bench_credit(session: nox.Session) -> None:
    """Time our credit functions beside verl's; arguments go to `cairn bench credit`."""
    _install_verl(session)
    session.run("cairn", "bench", "credit", *session.posargs, env=OFFLINE)


@nox.session(name="bench-loop", default=False)
def bench_loop(session: nox.Session) -> None:
    """Time the training loop beside TRL's GRPOTrainer; arguments go to `cairn bench loop`."""
    _install(session, "-e.[run]", "torch", TRL)
    session.run("cairn", "bench", "loop", *session.posargs, env=OFFLINE)


@nox.session(default=False)
def review(session: nox.Session) -> None:
    """Compare the layout of the repository with the Scientific Python guide."""
    _install(session, groups=["review"])
    session.run("sp-repo-review", *session.posargs, ".")


@nox.session(default=False, reuse_venv=False)
def lock(session: nox.Session) -> None:
    """Renew `constraints.txt` from the newest releases, keeping the torch it names; results then need a rerun."""
    lines = LOCK.read_text().splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    session.install(torch)
    session.install(".[export,run,ray,tasks,trl]", *_group("dev"), *_group("fuzz"))
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude", "cairn-credit", silent=True)
    # The label after `+` names the build of torch, not its release; every build of the release may be used.
    pins = [line.partition("+")[0] for line in str(frozen).splitlines() if "==" in line and not line.startswith("#")]
    LOCK.write_text("\n".join([*(line for line in lines if line.startswith("#")), *pins]) + "\n")


def _group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


def _install(session: nox.Session, *packages: str, groups: list[str] | None = None) -> None:
    """Install packages and dependency groups at the versions of the lock."""
    session.install("-c", str(LOCK), *packages, *(word for name in groups or [] for word in _group(name)))


def _install_verl(session: nox.Session) -> None:
    """Install verl with what its estimators import, and not the trainer's other packages.

    All of them took ten minutes and 0.4 GB more on two cores; without a GPU they are of no use. Transformers must be
    older than that of the lock. The wheel of verl brings a package `tests`, which would hide ours.
    """
    _install(session, "-e.", "torch", groups=["test"])
    session.install(*VERL_NEEDS)
    session.install("--no-deps", VERL)
    stray = "import shutil, sysconfig; shutil.rmtree(sysconfig.get_path('purelib') + '/tests', ignore_errors=True)"
    session.run("python", "-c", stray)


def _ask_oracle(session: nox.Session, name: str) -> None:
    if session.posargs == ["--write"]:
        session.run("python", "-m", "tests.oracles.semantics", name, "--write", env=OFFLINE)
    else:
        session.run("pytest", f"tests/oracles/test_{name}.py", *session.posargs, env=OFFLINE)


def _smoke(session: nox.Session, methods: list[str]) -> None:
    for method in methods:
        with tempfile.TemporaryDirectory() as out:
            script = f"reproductions/{method}/reproduce.py"
            session.run("python", script, "--preset", "smoke", "--out", out, env=OFFLINE)


def _check_contents(session: nox.Session, built: Path) -> None:
    """Stop unless the wheel holds the package and its data, and none of the single records."""
    names = zipfile.ZipFile(built).namelist()
    wanted = ["cairn/py.typed", "cairn/site/__init__.py", "cairn/_data/inventory/", "cairn/_data/constraints.txt"]
    kept = [path for folder in ("reproductions", "studies") for path in sorted(ROOT.glob(f"{folder}/*/*.*"))]
    wanted += [f"cairn/_data/{path.relative_to(ROOT)}" for path in kept]
    wanted += [f"cairn/{path.relative_to(ROOT / 'src/cairn')}" for path in ROOT.glob("src/cairn/lab/models/*/*.*")]
    missing = [name for name in wanted if not any(there.startswith(name) for there in names)]
    unwanted = [name for name in names if "/results/" in name or "__pycache__" in name]
    if missing or unwanted:
        session.error(f"{built.name}: missing {missing}, unwanted {unwanted}")


def _use_bare(session: nox.Session, built: Path) -> None:
    """List the inventory from the base install, and make sure that it brought no torch."""
    session.run("venv/bin/pip", "install", "-q", "-c", str(LOCK), str(built), external=True)
    session.run("venv/bin/cairn", "list", external=True)
    no_torch = "import importlib.util as util; assert util.find_spec('torch') is None, 'the base install brought torch'"
    session.run("venv/bin/python", "-c", no_torch, external=True)


def _use_run(session: nox.Session, built: Path) -> None:
    """Run one reproduction from the wheel with the extra `run`, in a folder that is no checkout."""
    session.run("venv/bin/pip", "install", "-q", "-c", str(LOCK), f"{built}[run]", external=True)
    session.run("venv/bin/cairn", "run", "gigpo", "--preset", "smoke", "--out", "out", external=True, env=OFFLINE)


if __name__ == "__main__":
    nox.main()
