"""What `pila evaluate` runs, checked in full before anything is generated or judged."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.files import sole_writer
from pila.generate.plan import (
    Grid,
    Sampling,
    check_numbers,
    check_sizes,
    check_window,
    check_writable,
    model_sampling,
)
from pila.generate.request import GenerateRequest
from pila.lab.benchmarks import (
    imaging,
    phygen_judging,
    phygen_stages,
    phygenbench,
    vbench2,
    videophy,
    videophy2,
)
from pila.lab.benchmarks.compare import compare, write_table
from pila.lab.benchmarks.generating import Made, Method, Shared, generate, share
from pila.lab.benchmarks.judges import Judge
from pila.lab.benchmarks.prompt_list import PromptList, read_prompts, write_prompts
from pila.lab.benchmarks.records import write_json
from pila.lab.benchmarks.results import Result, read_result, write_result
from pila.lab.experiments.laws import FROZEN
from pila.lab.experiments.run import read_methods
from pila.lab.experiments.sampling import is_generator
from pila.pipelines.locate import find_model
from pila.pipelines.repository import check_wan_repository
from pila.progress import only_own_progress

AS_JSON = {
    module.NAME: module.as_json for module in (videophy2, videophy, phygenbench, vbench2, imaging)
}


def make_prompts(
    benchmark: str, source: str | None, out: Path, *, part: Sequence[str] = (), hard: bool = False
) -> PromptList:
    """Read a benchmark's official prompts and write the list that the other steps take.

    Args:
        benchmark: videophy2, videophy, phygenbench or vbench2.
        source: a checkout, a file, or a data set's id; Hugging Face by default, where it is there.
        out: the list, a JSON file.
        part: dimensions of VBench-2.0; those judged here by default.
        hard: VideoPhy-2's hard subset alone.

    Raises:
        InputError: no source, or it does not hold the official prompts.
    """
    check_writable(out.parent)
    if benchmark == videophy2.NAME:
        prompts = videophy2.read_prompts(source or videophy2.HUB, hard=hard)
    elif benchmark == videophy.NAME:
        prompts = videophy.read_prompts(source or videophy.HUB)
    elif source is None:
        raise InputError(
            f"{benchmark} has its prompts in its repository; clone it and give it with --source"
        )
    elif benchmark == phygenbench.NAME:
        prompts = phygenbench.read_prompts(Path(source).expanduser())
    else:
        wanted = tuple(part) or vbench2.JUDGED
        prompts = vbench2.read_prompts(Path(source).expanduser(), wanted)
    write_prompts(out, prompts)
    return prompts


def make_clips(
    benchmark: str,
    prompts: Path,
    output: Path,
    request: GenerateRequest,
    *,
    adapters: Sequence[str] = (),
    frozen: bool = True,
) -> list[Made]:
    """Generate the clips of every method from the same noise into `output/<method>`.

    Args:
        benchmark: whose list of prompts it is.
        prompts: what `make_prompts` wrote.
        output: a folder.
        request: model, sizes, steps, seed, the adapters' options; its prompt is not used.
        adapters: "name=place" each, the place as `find_attachments` takes it.
        frozen: also the generator without any adapter.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
        FloatingPointError: an output is not finite.
    """
    listed = read_prompts(prompts, benchmark)
    check_numbers(request)
    folder = find_model(request.model)
    index = check_wan_repository(folder)
    if "ImageToVideo" in index["_class_name"]:
        raise InputError(f"{request.model} is an image-to-video model; name a text-to-video one")
    sampling = Sampling.of(request, model_sampling(folder))
    check_sizes(sampling, Grid.of_folder(folder))
    shared = Shared(
        height=sampling.height,
        width=sampling.width,
        num_frames=sampling.num_frames,
        fps=sampling.fps,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        max_sequence_length=sampling.max_sequence_length,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
    )
    methods = [Method(name=FROZEN, model=request.model)] if frozen else []
    for found in read_methods(adapters, folder):
        if is_generator(found.adapter):
            raise InputError(
                f"{found.adapter} is a generator of its own; evaluate it as --model, into another "
                "--output, and compare the results"
            )
        methods.append(
            Method(
                name=found.name,
                model=request.model,
                adapter=found.adapter,
                adapter_scale=request.adapter_scale,
                step_window=check_window(request.step_window, steps=sampling.steps),
                top_k=request.top_k,
                velocity_source=request.velocity_source,
                parser=request.parser,
            )
        )
    if not methods:
        raise InputError("there are 0 methods; name adapters, or leave the frozen generator in")
    check_writable(output)
    only_own_progress()
    # Of several processes the first holds the folder for all of them.
    with sole_writer(output) if share()[0] == 0 else nullcontext():
        return [
            generate(
                listed,
                output / method.name,
                method,
                shared,
                device=request.device,
                dtype=request.dtype,
                offload=request.offload,
            )
            for method in methods
        ]


def judge_clips(
    benchmark: str,
    prompts: Path,
    videos: Path,
    out: Path,
    judge: Judge,
    *,
    frames: int | None = None,
    tasks: Sequence[str] = videophy2.TASKS,
    route: str = "closed",
    model_name: str | None = None,
    official_parser: bool = False,
) -> list[Path]:
    """Ask a judge about all clips and write files in the benchmark's official form.

    Args:
        benchmark: videophy2, videophy, phygenbench or vbench2.
        prompts: what `make_prompts` wrote.
        videos: the folder with one method's clips.
        out: a folder.
        judge: who answers.
        frames: sampled from each clip; the official judge's number by default.
        tasks: of VideoPhy-2: sa, pc, rule.
        route: of PhyGenBench: closed or open.
        model_name: of PhyGenBench's file; the folder's by default.
        official_parser: read answers as the official scripts do, where they are read so.

    Raises:
        InputError: clips that are missing or damaged, or questions without an answer, all named.
    """
    listed = read_prompts(prompts, benchmark)
    if frames is not None and frames < 1:
        raise InputError(f"frames is {frames}; sample at least 1")
    unknown = [task for task in tasks if task not in videophy2.TASKS]
    if unknown or not tasks:
        raise InputError(f"tasks is {list(tasks)}; use some of {', '.join(videophy2.TASKS)}")
    if official_parser and benchmark not in (videophy2.NAME, vbench2.NAME):
        raise InputError(f"{benchmark} has no parser of its own for such answers; leave it out")
    check_writable(out)
    count: dict[str, Any] = {} if frames is None else {"frames": frames}
    given = (listed, videos, out, judge)
    with sole_writer(out):
        if benchmark == videophy2.NAME:
            return videophy2.judge(*given, tasks=tasks, official_parser=official_parser, **count)
        if benchmark == vbench2.NAME:
            return [vbench2.judge(*given, official_parser=official_parser, **count)]
        if benchmark == videophy.NAME:
            return videophy.judge(*given, **count)
        name = model_name or videos.resolve().name
        return [phygen_judging.judge(*given, route=route, model_name=name, **count)]


def combine_stages(files: dict[str, Path], model_name: str, out: Path) -> list[str]:
    """Write PhyGenBench's per-model result file from its raw judge files; returns notes.

    Raises:
        InputError: too few files, or what they hold does not fit together.
    """
    unknown = [stage for stage in files if stage not in phygen_stages.STAGES]
    lacking = {
        route: [stage for stage in stages if stage not in files]
        for route, stages in phygenbench.ROUTES.items()
    }
    if unknown or all(lacking.values()):
        raise InputError(
            f"stages has {', '.join(files) or 'none'}; give all of "
            f"{' or of '.join(', '.join(s) for s in phygenbench.ROUTES.values())}"
        )
    entries, notes = phygen_stages.read_stages(files, model_name)
    for entry in entries:
        scores = {}
        for route, stages in phygenbench.ROUTES.items():
            if not lacking[route]:
                scores[route] = phygenbench.route_score([entry[stage] for stage in stages])
                entry[f"{model_name}_{route}"] = scores[route]
        if len(scores) == len(phygenbench.ROUTES):
            average = phygenbench.average_score(scores["closed"], scores["open"])
            entry[f"{model_name}_{phygenbench.AVERAGE}"] = average
    write_json(out, entries)
    return notes


def keep_result(result: Result, out: Path | None) -> Result:
    """Write a result where a place is given.

    Raises:
        InputError: the place cannot be written.
    """
    if out is not None:
        write_result(out, result)
    return result


def compare_results(
    benchmark: str,
    files: Sequence[Path],
    out: Path | None,
    *,
    baseline: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Compare results of the aggregate step and write the table; see `compare`.

    Raises:
        InputError: files that are no results, of another benchmark, or not comparable.
    """
    results = [read_result(path) for path in files]
    for path, result in zip(files, results, strict=True):
        if result.benchmark != benchmark:
            raise InputError(f"{path} is of {result.benchmark}; compare it there")
    table = compare(results, baseline=baseline, force=force)
    if out is not None:
        write_table(out, table)
    return table


def listed_prompts(path: Path | None, benchmark: str) -> PromptList | None:
    """The list of prompts, where one is given.

    Raises:
        InputError: it is not one of that benchmark.
    """
    return None if path is None else read_prompts(path, benchmark)
