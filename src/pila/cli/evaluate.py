"""`pila evaluate`: runs a step of a benchmark and prints what came out. Light until one runs."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pila import plugins
from pila.cli.evaluate_options import (
    Aggregate,
    AggregateImaging,
    AggregatePhyGenBench,
    AggregateVBench2,
    AggregateVideoPhy,
    AggregateVideoPhy2,
    Compare,
    Evaluate,
    Generate,
    Imaging,
    JudgeImaging,
    JudgeStep,
    LabelParser,
    PhyGenBench,
    Prompts,
    VBench2,
    VideoPhy,
    VideoPhy2,
)
from pila.generate.request import GenerateRequest
from pila.progress import progress_bar

_NAMES: dict[type, str] = {
    VideoPhy2: "videophy2",
    VideoPhy: "videophy",
    PhyGenBench: "phygenbench",
    VBench2: "vbench2",
    Imaging: "imaging",
}


def evaluate(command: Evaluate) -> None:
    """Run one step of one benchmark."""
    benchmark: Any = command.benchmark
    if isinstance(benchmark, LabelParser):
        _labels(benchmark)
        return
    _STEPS[type(benchmark.command)](_NAMES[type(benchmark)], benchmark.command)


def _prompts(benchmark: str, command: Prompts) -> None:
    from pila.lab.benchmarks.run import make_prompts

    made = make_prompts(
        benchmark, command.source, command.out, part=command.dimensions, hard=command.hard
    )
    about = {"prompts": len(made.items), "clips": len(made.files), "digest": made.digest}
    if command.json:
        print(json.dumps({"benchmark": benchmark, "file": str(command.out), **about}))
    else:
        print(f"{about['prompts']} prompts, {about['clips']} clips each method: {command.out}")


def _generate(benchmark: str, command: Generate) -> None:
    from pila.lab.benchmarks.run import make_clips

    given = asdict(command)
    own = {name: given.pop(name) for name in ("prompts", "output", "adapters", "without_frozen")}
    made = make_clips(
        benchmark,
        own["prompts"],
        own["output"],
        GenerateRequest(prompt=benchmark, **given),
        adapters=own["adapters"],
        frozen=not own["without_frozen"],
    )
    if int(os.environ.get("RANK", "0")):
        return
    if command.json:
        print(json.dumps([asdict(one) for one in made]))
        return
    for one in made:
        print(f"{one.folder}: {one.made} clips made here, {one.kept} were there, of {one.total}")


def _judge(benchmark: str, command: JudgeStep) -> None:
    from pila.lab.benchmarks.run import judge_clips

    written = judge_clips(
        benchmark,
        command.prompts,
        command.videos,
        command.out,
        _make_judge(command),
        frames=command.frames,
        tasks=command.tasks,
        route=command.route,
        model_name=command.model_name,
        official_parser=command.official_parser,
    )
    names = [str(path) for path in written]
    print(
        json.dumps({"benchmark": benchmark, "files": names}) if command.json else "\n".join(names)
    )


def _make_judge(command: JudgeStep) -> Any:
    if command.judge == "server":
        from pila.lab.benchmarks.judges.server import ServerConfig, ServerJudge

        options = {"timeout": command.timeout, "retries": command.retries}
        return ServerJudge(ServerConfig.resolve(command.base_url, command.judge_model, **options))
    if command.judge != "local":
        return plugins.load("pila.judges", command.judge)()
    from pila.errors import InputError
    from pila.lab.benchmarks.judges.local import LocalJudge
    from pila.progress import only_own_progress

    if command.judge_model is None:
        raise InputError("no judge model is named (0 of 1); give --judge-model, a folder or hub id")
    only_own_progress()
    return LocalJudge(command.judge_model, device=command.device, way=command.way)


def _judge_imaging(benchmark: str, command: JudgeImaging) -> None:
    from pila.generate.plan import check_writable
    from pila.lab.benchmarks import imaging

    check_writable(command.out.parent)
    imaging.videos_in(command.videos)
    content = imaging.judge(
        command.videos,
        command.out,
        imaging.Musiq(command.device),
        progress=lambda paths: progress_bar(paths, unit="video"),
    )
    mean, videos = content[imaging.DIMENSION]
    print(json.dumps(content) if command.json else f"{mean:.4f} over {len(videos)} videos")


def _aggregate_videophy2(benchmark: str, command: AggregateVideoPhy2) -> None:
    from pila.lab.benchmarks import videophy2
    from pila.lab.benchmarks.run import listed_prompts

    result = videophy2.aggregate(
        sa=command.sa,
        pc=command.pc,
        rule=command.rule,
        method=command.method,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_videophy(benchmark: str, command: AggregateVideoPhy) -> None:
    from pila.lab.benchmarks import videophy
    from pila.lab.benchmarks.run import listed_prompts

    result = videophy.aggregate(
        sa=command.sa,
        pc=command.pc,
        threshold=command.threshold,
        method=command.method,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_phygenbench(benchmark: str, command: AggregatePhyGenBench) -> None:
    from pila.lab.benchmarks import phygenbench
    from pila.lab.benchmarks.run import combine_stages, listed_prompts

    if command.stages:
        files = {
            stage: Path(path) for stage, _, path in (pair.partition("=") for pair in command.stages)
        }
        for note in combine_stages(files, command.model_name or "model", command.file):
            _say(note)
    result = phygenbench.aggregate(
        command.file,
        method=command.method,
        model_name=command.model_name,
        routes=command.routes,
        partial=command.partial,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_vbench2(benchmark: str, command: AggregateVBench2) -> None:
    from pila.lab.benchmarks import vbench2
    from pila.lab.benchmarks.run import listed_prompts

    result = vbench2.aggregate(
        command.file,
        method=command.method,
        partial=command.partial,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_imaging(benchmark: str, command: AggregateImaging) -> None:
    from pila.lab.benchmarks import imaging

    result = imaging.aggregate(command.file, method=command.method, judge=command.judge_name)
    _finish(benchmark, command, result)


def _finish(benchmark: str, command: Aggregate, result: Any) -> None:
    """Write and print a result; notes go to the error stream where stdout has no place."""
    from pila.lab.benchmarks.run import AS_JSON, keep_result

    keep_result(result, command.out)
    if command.json:
        print(json.dumps(AS_JSON[benchmark](result)))
    else:
        for name in result.names:
            print(f"{name:<32}{result.estimate(name)}")
    for note in result.notes:
        _say(note)


def _say(note: str) -> None:
    print("note:", note, file=sys.stderr)


def _compare(benchmark: str, command: Compare) -> None:
    from pila.lab.benchmarks.compare import markdown
    from pila.lab.benchmarks.run import compare_results

    table = compare_results(
        benchmark, command.results, command.out, baseline=command.baseline, force=command.force
    )
    print(json.dumps(table) if command.json else markdown(table).rstrip())


def _labels(command: LabelParser) -> None:
    from pila.errors import InputError
    from pila.lab.benchmarks.label_parser import agreement, phygenbench_cases, table, wisa_cases
    from pila.labels.parser import make_parser

    if command.phygenbench is None and command.wisa is None:
        raise InputError("labels has 0 sets of prompts; give --phygenbench or --wisa")
    if command.most is not None and command.most < 1:
        raise InputError(f"most is {command.most}; take at least 1")
    cases = {}
    if command.phygenbench is not None:
        cases["phygenbench"] = phygenbench_cases(command.phygenbench)
    if command.wisa is not None:
        cases["wisa"] = wisa_cases(command.wisa, most=command.most)
    parser = make_parser(command.parser)
    reports = {name: agreement(some, parser) for name, some in cases.items()}
    if command.json:
        print(json.dumps({"parser": command.parser, **reports}))
        return
    for name, report in reports.items():
        print(f"{name}, {command.parser} parser: {table(report)}\n")


_STEPS: dict[type, Callable[[str, Any], None]] = {
    Prompts: _prompts,
    Generate: _generate,
    JudgeStep: _judge,
    JudgeImaging: _judge_imaging,
    AggregateVideoPhy2: _aggregate_videophy2,
    AggregateVideoPhy: _aggregate_videophy,
    AggregatePhyGenBench: _aggregate_phygenbench,
    AggregateVBench2: _aggregate_vbench2,
    AggregateImaging: _aggregate_imaging,
    Compare: _compare,
}
