"""Values that no command could take are refused at once, by one mechanism for all of them."""

import pytest

from pila.cli import run
from pila.errors import InputError
from pila.generate.plan import Grid, Sampling, check_sizes, prepare
from pila.generate.request import GenerateRequest
from pila.labels import check_prompt
from pila.options import check_path, check_text

HUGE = str(2**63)


def refused(args, capsys):
    assert run(args) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["data", "replica", "{out}", "--size", HUGE], "--size is 9223372036854775808; at most"),
        (["world", "make", "--out", "{out}", "--clips", "1" + "0" * 26], "--clips is a number of"),
        (["world", "make", "--out", "{out}", "--size", "-" + HUGE], "--size is -9223372036854775"),
        (["world", "make", "--out", "{out}", "--violations", "nan"], "--violations is nan"),
        (["train", "embedded-couple", "--steps", HUGE], "--steps is 9223372036854775808"),
        (["data", "cache", "world", "--out", "{out}", "--processes", "1000000"], "--processes is"),
        (["generate", "a ball", "--seed", "9" * 4_000], "--seed is a number of 4,000 digits"),
        (["generate", "a ball", "--from", "/dev/zero"], "is a device or a pipe, not a file"),
        (["generate", "a ball", "--from", "{out}"], "is a folder, not a file"),
        (["generate", "a \ud800 ball"], "--prompt is not Unicode text: character 3"),
        (["label", "a \udcff ball"], "--prompt is not Unicode text"),
        (["generate", "a ball", "--negative-prompt", "\udfff"], "--negative-prompt is not Unicode"),
        (["generate", "a ball", "--output", "n" * 300 + ".mp4"], "a name of 304 bytes"),
        (["generate", "a ball", "--output", "é" * 120 + ".mp4"], "a name of 244 bytes"),
        (["generate", "a ball", "--output", "d/" * 3_000 + "a.mp4"], "a path of 6,"),
        (["generate", "a ball", "--explain", "n" * 300], "a name of 300 bytes"),
        (["generate", "a ball", "--model", "m" * 5_000], "there is no model mmm"),
        (["generate", "a ball", "--adapter", "~nobody/x"], "there is no adapter ~nobody/x"),
    ],
)
def test_refused_at_once(args, message, tmp_path, capsys):
    assert message in refused([a.replace("{out}", str(tmp_path)) for a in args], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_set_option_of_training(tmp_path, capsys):
    args = ["train", "embedded-couple", "--output", str(tmp_path / "t"), "--set"]
    assert "--clips is" in refused([*args, "world.clips=" + "9" * 30], capsys)


def test_the_page_and_the_library_are_checked_too():
    with pytest.raises(InputError, match="--prompt is not Unicode text"):
        prepare(GenerateRequest(prompt="half \udc00"))


def test_whole_characters_and_long_names_pass(tmp_path):
    check_text("a 🎈 and ñ\n", "prompt")
    check_path(tmp_path / ("n" * 200 + ".mp4"), "output")
    with pytest.raises(InputError, match="not Unicode"):
        check_path(tmp_path / "a\0b", "output")


def test_a_clip_of_absurd_size_is_refused(wan_folder):
    with pytest.raises(InputError, match=r"height is 65536; it must be a multiple"):
        prepare(GenerateRequest(prompt="a ball", model=str(wan_folder), height=65_536))
    sizes = {"height": 8192, "width": 8192, "num_frames": 81, "fps": 16, "steps": 1}
    sampling = Sampling(**sizes, guidance_scale=1.0, max_sequence_length=512)
    with pytest.raises(InputError, match="pixels; at most 2,147,483,648 are made"):
        check_sizes(sampling, Grid())


@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
@pytest.mark.parametrize("option", ["--steps", "--seed", "--height"])
def test_a_number_of_thousands_of_digits_gets_one_line(capsys, form, option):
    words = form.format(option, "9" * 5_000).split()
    assert run(["generate", "a ball falls", *words]) == 2
    said = capsys.readouterr().err
    assert said == f"error: {option} is a number of 5,000 digits; give one of at most 40\n"


def test_half_a_character_in_a_prompt_is_named_wherever_it_is_read():
    with pytest.raises(InputError, match=r"the prompt is not Unicode text: character 3"):
        check_prompt("a \ud800 ball")
