"""The one door: every option composes, every rule refuses with a sentence, misspelt keys are answered."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mtl import config as module
from mtl.config import CONF, bind, compose, resolve
from mtl.sentences import sentences

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = sorted(
    (path.parent.name, path.stem) for group in GROUPS for path in (CONF / group).glob("*.yaml") if path.stem[0] != "_"
)

REFUSED = {
    "train.probe": ("train.probe=0", r"train\.probe=0: expected a whole number of at least 1\."),
    "control.normalize": ("control.normalize=max", r"control\.normalize=max: expected one of none, sum_to_K, match"),
    "control.features": ("control.features=pixels", r"control\.features=pixels: expected one of parameters, repr"),
    "data.root": ("data.root=3", r"data\.root=3: expected a name\."),
    "data.cache": ("data.cache=null", r"data\.cache=None: expected a name\."),
    "train.device": ("train.device=0", r"train\.device=0: expected a name\."),
    "mode": ("mode=test", r"mode=test: expected one of train, check, plan\."),
    "backbone.channels_last": ("backbone.channels_last=1", r"backbone\.channels_last=1: expected true or false\."),
    "seed": ("seed=-1", r"seed=-1: expected a whole number of at least 0 and at most 2147483647\."),
    "study": ("study=3", r"study=3: expected a name\."),
    "max_hours": ("max_hours=0", r"max_hours=0: expected a number of at least 1e-06\."),
    "runs_dir": ("runs_dir=null", r"runs_dir=None: expected a name\."),
    "label_smoothing": (
        "label_smoothing=1",
        r"label_smoothing=1: expected a number of at least 0 and at most 0\.99\.",
    ),
    "data.image_size": ("data.image_size=8", r"data\.image_size=8: expected a whole number of at least 16"),
    "data.split_seed": ("data.split_seed=a", r"data\.split_seed=a: expected a whole number of at least 0\."),
    "data.workers": ("data.workers=0", r"data\.workers=0: expected a whole number of at least 1\."),
    "data.augment.shift": ("data.augment.shift=16", r"data\.augment\.shift=16: .* at most 15\."),
    "data.augment.flip": ("data.augment.flip=1", r"data\.augment\.flip=1: expected true or false\."),
    "data.near_duplicates": ("data.near_duplicates=x", r"data\.near_duplicates=x: expected true or false\."),
    "backbone.arch": ("backbone.arch=18", r"backbone\.arch=18: expected a name\."),
    "backbone.weights": ("backbone.weights=1", r"backbone\.weights=1: expected a name\."),
    "age_target.beta": ("age_target.beta=0", r"age_target\.beta=0: expected a number of at least 1e-12"),
    "train.epochs": ("train.epochs=0", r"train\.epochs=0: expected a whole number of at least 1\."),
    "train.batch_size": ("train.batch_size=1", r"train\.batch_size=1: expected a whole number of at least 2\."),
    "train.threads": ("train.threads=1.5", r"train\.threads=1\.5: expected a whole number"),
    "train.amp": ("train.amp=half", r"train\.amp=half: expected true or false\."),
    "train.clip": ("train.clip=0", r"train\.clip=0: expected a number of at least 1e-12\."),
    "optimizer.lr": ("optimizer.lr=nan", r"optimizer\.lr=nan: expected a number"),
    "optimizer.weight_decay": (
        "optimizer.weight_decay=-1",
        r"optimizer\.weight_decay=-1: expected a number of at least 0",
    ),
    "schedule.warmup": (
        "schedule.warmup=1",
        r"schedule\.warmup=1: expected a number of at least 0 and at most 0\.99\.",
    ),
    "control.lr": ("control.lr=true", r"control\.lr=True: expected a number"),
    "train.keep": ("train.keep=all", r"train\.keep=all: expected one of best, last, none\."),
    "data.partial_labels": ("data.partial_labels=drop", r"data\.partial_labels=drop: expected one of skip, mask\."),
    "logger.wandb.mode": (
        "logger.wandb.mode=on",
        r"logger\.wandb\.mode=.*: expected one of offline, online, disabled\.",
    ),
}


def test_there_are_options():
    names = [group for group, _ in OPTIONS]
    assert set(names) >= set(module._GROUPS) | {"experiment", "sweep"}


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=["/".join(option) for option in OPTIONS])
def test_every_option_composes(group, name):
    config = compose([f"{group}={name}"])
    if group in module._GROUPS:
        assert config["names"][group] == ("resnet18" if name == "torchvision" else name)
    assert "hydra" not in config
    assert not {"experiment", "sweep"} & config.keys()


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=["/".join(option) for option in OPTIONS])
def test_every_option_says_what_it_is(group, name):
    """A comment before the first key, for whoever opens the folder."""
    text = (CONF / group / f"{name}.yaml").read_text()
    assert "#" in text
    if "_target_" in text:
        assert any(line.startswith("# ") and not line.startswith("# @") for line in text.splitlines())


def test_config_is_plain_and_resolved():
    config = compose(["tasks=[age]", "seed=3"])

    def plain(value):
        if isinstance(value, dict):
            return all(type(key) is str and plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(plain(item) for item in value)
        return value is None or type(value) in (int, float, bool, str)

    assert type(config) is dict
    assert plain(config)
    assert config["tasks"] == ["age"]
    assert config["seed"] == 3
    assert "${" not in str(config)


def test_tasks_come_from_the_data():
    assert compose([])["tasks"] == ["age", "sick", "species"]
    assert compose(["data=utkface"])["tasks"] == ["age", "gender", "ethnicity"]


def test_every_rule_is_tried():
    assert REFUSED.keys() == module._RULES.keys() | module._CHOICES.keys()


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_rule_refuses(key):
    override, sentence = REFUSED[key]
    with pytest.raises(ValueError, match=sentence) as raised:
        compose([override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("tasks=age", r"tasks=age: expected a list of some of age, sick, species, for example tasks=\[age\]\."),
        ("tasks=[]", r"tasks=\[\]: expected a list of some of age, sick, species"),
        ("tasks=[gender]", r"tasks: data=trees has no task 'gender'; it has age, sick, species\."),
        ("study=a/b", r"study=a/b: expected a plain folder name; runs_dir=PATH says where it lies\."),
        ("study=..", r"study=\.\.: expected a plain folder name"),
        ("seed=1.0", r"seed=1\.0: expected a whole number"),
        ("optimizer.lr=fast", r"optimizer\.lr=fast: expected a number"),
    ],
)
def test_refuses(override, sentence):
    with pytest.raises(ValueError, match=sentence):
        compose([override])


@pytest.mark.parametrize(
    "override",
    [
        "train.threads=null",
        "train.clip=null",
        "train.clip=1",
        "optimizer.lr=1e-3",
        "optimizer.lr=1",
        "data.workers=2",
        "optimizer.weight_decay=0",
    ],
)
def test_accepts(override):
    compose([override])


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["data.noise.age=5"], "noise", {"age": 5}),
        (["data.noise={age: 5, sick: 0.1}"], "noise", {"age": 5, "sick": 0.1}),
        (["data=utkface", "data.noise.gender=0.2"], "noise", {"gender": 0.2}),
    ],
)
def test_noise_is_set_from_the_command_line(overrides, key, value):
    """As the comment in conf/data/_base.yaml promises: per task."""
    found = compose(overrides)["data"][key]
    assert {task: level for task, level in found.items() if level} == value


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["backbone=torchvision", "backbone.arch=regnet_x_800mf"], "regnet_x_800mf"),
        (["backbone=resnet18", "backbone.arch=resnet50"], "resnet50"),
        (["backbone=mobilenet"], "mobilenet"),
        (["backbone=mobilenet", "backbone.arch=densenet121"], "densenet121"),
        (["backbone=torchvision", "backbone.arch=a/../b"], "torchvision"),  # no name for a folder; refused when built
    ],
)
def test_a_run_is_named_after_the_network_that_it_trains(overrides, name):
    assert compose(overrides)["names"]["backbone"] == name


def test_a_backbone_without_arch_keeps_its_name():
    """An own class: its YAML need not have the keys of torchvision's."""
    config = OmegaConf.create(compose([]) | {"backbone": {"_target_": "mine.Net"}})
    del config["names"]
    choices = dict.fromkeys(module._GROUPS, "mine")
    assert resolve(config, choices)["names"]["backbone"] == "mine"


def test_one_network_by_two_ways_is_one_run():
    assert compose(["backbone=torchvision", "backbone.arch=resnet50"]) == compose(["backbone=resnet50"])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["backbone=regnet_x_800mf"],
            r"^backbone=regnet_x_800mf: write backbone=torchvision backbone\.arch=regnet_x_800mf\.$",
        ),
        (["backbone=vit_b_16"], r"^backbone=vit_b_16: it is made for pictures of one size, 224 px; expected one of "),
        (["backbone=fcn_resnet50"], r"^backbone=fcn_resnet50: it labels pixels"),
        (["backbone=resnet19"], r"^backbone=resnet19: there is no such backbone; did you mean resnet18\?"),
        (
            ["weighting=uncertanty"],
            r"weighting=uncertanty: there is no such weighting; did you mean uncertainty\? expected one of ali",
        ),
        (["backbone=vit"], r"backbone=vit: there is no such backbone; expected one of "),
        (["train.epoch=3"], r"train\.epoch: there is no such key; did you mean epochs\? train has amp, batch_size"),
        (["epochs=3"], r"epochs: there is no such key; .*the config has age_target, backbone"),
        (
            ["weighting=dwa", "weighting.method.temprature=3"],
            r"weighting\.method\.temprature: there is no such key; did you mean temperature\?.*choice\(VALUE\)",
        ),
        (
            ["weighting.method.temperature=3"],
            r"weighting\.method\.temperature: there is no such key.*weighting\.method\.KEY=choice\(VALUE\)",
        ),
        (["data.tasks.age.hgih=90"], r"data\.tasks\.age\.hgih: there is no such key; did you mean high\?"),
        (["study.max_hours=8"], r"study\.max_hours: there is no such key; did you mean max_hours\? study is a value\."),
        (["train.epochs=???"], r"epochs"),
        (["seed"], r"'seed' is no override: expected KEY=VALUE"),
        (["sweep=smal"], r"sweep=smal: there is no such sweep; did you mean small\?"),
    ],
)
def test_misspelt(overrides, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        compose(overrides)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_options_for_inheritance_are_not_offered():
    with pytest.raises(ValueError, match="expected one of trees, utkface"):
        compose(["data=faces"])


def test_sweep_may_set_the_study():
    assert compose(["sweep=small"])["study"] == "small"
    assert compose(["sweep=small", "study=mine"])["study"] == "mine"


def test_wandb_mode_follows_the_environment(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert compose([])["logger"]["wandb"]["mode"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert compose([])["logger"]["wandb"]["mode"] == "disabled"


def test_compose_twice_and_after_a_mistake():
    with pytest.raises(ValueError, match="nothing"):
        compose(["weighting=nothing"])
    assert compose(["weighting=dwa"]) == compose(["weighting=dwa"])


def test_bind_gives_the_class_with_its_keys():
    made = bind({"_target_": "torch.nn.Linear", "bias": False})(3, 2)
    assert made.weight.shape == (2, 3)
    assert made.bias is None


def test_bind_builds_what_lies_inside():
    scalarizer = bind(compose(["weighting=rlw"])["weighting"]["method"]).keywords["scalarizer"]
    assert type(scalarizer).__name__ == "Random"


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({"_target_": "torch.nn.Linaer"}, r"torch\.nn\.Linaer: .*Linaer"),
        ({"_target_": "torhc.nn.Linear"}, r"torhc\.nn\.Linear: .*torhc"),
        ({"_target_": "torch.nn.Linear", "biass": False}, r"torch\.nn\.Linear: .*'biass'"),
        (
            {"_target_": "mtl.weighting.torchjd.Scalarizer", "scalarizer": {"_target_": "torchjd.scalarization.Non"}},
            r"mtl\.weighting\.torchjd\.Scalarizer: .*Non",
        ),
        (
            {
                "_target_": "mtl.weighting.torchjd.Scalarizer",
                "scalarizer": {"_target_": "torchjd.scalarization.DWA", "temperature": -1},
            },
            r"mtl\.weighting\.torchjd\.Scalarizer: .*temperature.*positive",
        ),
    ],
)
def test_bind_refuses(node, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        bind(node)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("seed=-1: no."), 2, "seed=-1: no.\n"),
        (KeyboardInterrupt(), 130, "interrupted: the same command again goes on from here.\n"),
        (PermissionError(13, "Permission denied", "runs"), 2, "runs: Permission denied; check the path"),
    ],
)
def test_sentences(error, code, said, capsys):
    with pytest.raises(SystemExit) as ended, sentences():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(said)


def test_an_interruption_that_another_error_hides(capsys):
    """Hydra takes `defaults` out of a config, and fails where Ctrl-C has left it half composed."""

    def compose_half() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            del OmegaConf.create({})["defaults"]

    with pytest.raises(SystemExit) as ended, sentences():
        compose_half()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted: the same command again goes on from here.\n"


@pytest.mark.parametrize(
    "error", [KeyError("x"), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), AssertionError(), TypeError("no")]
)
def test_faults_of_the_program_keep_their_traceback(error):
    with pytest.raises(type(error)), sentences():
        raise error


def test_sweeps_are_reached_through_the_group():
    """conf/sweep is a link to sweeps/: without it `sweep=x` would train one default run."""
    assert (CONF / "sweep").samefile(CONF.parent / "sweeps")
