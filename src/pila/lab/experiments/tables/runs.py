"""What an experiment needs trained: found below one folder as `<recipe>-<seed>`, or trained."""

import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pila.errors import InputError
from pila.files import whole_folder
from pila.json_files import read_object
from pila.lab.experiments.sampling import Method
from pila.lab.experiments.tables.definition import Arm, Experiment
from pila.progress import progress_bar
from pila.recipes import RECIPES
from pila.recipes.run import configs
from pila.train.config import config_diff
from pila.train.loop import RATE
from pila.workers import workers

log = logging.getLogger(__name__)
KINDS = ("adapter", "model")
"""What a finished run leaves: something to put on a generator, or a generator."""
GIVEN = {"start", "data", "world.size", "world.scenes"}
"""Options that a run is given, by itself or with its generator, and a recipe does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Finished trainings.

    Args:
        folder: where they lie.
        model: the generator that they are for; None stands for each recipe's own.
    """

    folder: Path
    model: str | None = None

    def output(self, recipe: str, seed: int) -> Path:
        """The folder of one training."""
        return self.folder / f"{recipe}-{seed}"

    def place(self, recipe: str, seed: int) -> str | None:
        """Where what it has left lies; None while it is not finished."""
        for kind in KINDS:
            made = self.output(recipe, seed) / kind
            # A run of stages has its adapter once all are done; each stage has one of its own.
            if made.is_dir():
                return str(made)
        return None

    def command(self, recipe: str, seed: int) -> str:
        """What trains it."""
        own = "" if self.model is None else f" --model {self.model}"
        return f"pila train {recipe} --seed {seed} --output {self.output(recipe, seed)}{own}"

    def operations(self, recipes: Sequence[str]) -> int | None:
        """Floating-point operations of their trainings, all stages, as `train.estimate` counts.

        Losses beside the flow error and the optimizer are not counted. None where a recipe's
        cannot be counted.
        """
        from pila.train.estimate import estimate

        total = 0
        for config in (c for r in recipes for c in configs(r, model=self.model).values()):
            counted = estimate(config)
            if counted is None:
                return None
            total += counted.flops * config.optim.steps
        return total

    def core_minutes(self, recipes: Sequence[str], seeds: Sequence[int]) -> float | None:
        """Minutes of one processor core that their trainings took, all stages, mean over seeds.

        As each stage's rate.json says; making clips is not counted. None where one
        ran on an accelerator, or does not say.
        """
        found = []
        for seed in seeds:
            taken = [self._processor_minutes(recipe, seed) for recipe in recipes]
            if not all(taken):
                return None
            found.append(sum(t for t in taken if t))
        return sum(found) / len(found) if found else None

    def _processor_minutes(self, recipe: str, seed: int) -> float | None:
        total = 0.0
        for stage in configs(recipe, seed=seed, model=self.model):
            path = self.output(recipe, seed) / stage / RATE
            said = read_object(path) if path.is_file() else {}
            if "threads" not in said.get("machine", ""):
                return None
            each = said["processor_seconds_per_step"] * said["processes"]
            total += each * said["steps"] / 60
        return total

    def missing(self, recipes: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
        """Which of them are not finished."""
        wanted = [(recipe, seed) for recipe in recipes for seed in seeds]
        return [(recipe, seed) for recipe, seed in wanted if self.place(recipe, seed) is None]

    def finished(self, arm: Arm, seeds: Sequence[int]) -> tuple[int, ...]:
        """The training seeds of which everything that an arm needs is finished."""
        return tuple(s for s in seeds if not self.missing(arm.trained, [s]))

    def require(self, recipes: Sequence[str], seeds: Sequence[int]) -> None:
        """Refuse to go on without them.

        Raises:
            InputError: naming each that is missing and the command that trains it.
        """
        lacking = self.missing(recipes, seeds)
        if lacking:
            commands = "; ".join(self.command(recipe, seed) for recipe, seed in lacking)
            raise InputError(
                f"{len(lacking)} trainings are missing in {self.folder}: {commands}; or pass "
                "--train to have them trained first, or --available for the rows and training "
                "seeds that are there"
            )

    def config_diff(
        self, recipes: Sequence[str], seeds: Sequence[int]
    ) -> dict[str, tuple[str, ...]]:
        """Of each finished training that is not the recipe's, the options that differ.

        A recipe may have changed since, or the training was cut short. Options that a training of
        an earlier version does not name are not compared, nor are those that a run is given.
        """
        found: dict[str, tuple[str, ...]] = {}
        for recipe, seed in product(recipes, seeds):
            others: set[str] = set()
            for stage, config in configs(recipe, seed=seed, model=self.model).items():
                others |= config_diff(self.output(recipe, seed) / stage, config) - GIVEN
            if others:
                found[self.output(recipe, seed).name] = tuple(sorted(others))
        return found

    def train(
        self,
        recipes: Sequence[str],
        seeds: Sequence[int],
        *,
        processes: int = 1,
        checkpoint_every: int = 500,
    ) -> None:
        """Train what is missing; a stopped one goes on.

        Stages that another recipe has trained alike, with the same seed, are taken from there.

        Args:
            recipes: what is needed.
            seeds: of each.
            processes: trainings at once, one thread each: on two cores two of them are a fifth
                faster than one after the other with both. On an accelerator a dozen share it (with
                NVIDIA's MPS), if there is a core for each.
            checkpoint_every: steps between checkpoints.
        """
        lacking = self.missing(recipes, seeds)
        several = processes > 1 and len(lacking) > 1
        with progress_bar(total=len(lacking), unit="training", shown=several) as bar:
            for some in self.rounds(lacking):
                for recipe, seed in some:
                    self.share_stages(recipe, seed)
                    log.info("training: %s", self.command(recipe, seed))
                options = (self.model, checkpoint_every, not several)
                # In processes of their own: what they leave on an accelerator goes with them.
                count = min(processes, len(some)) if several else 1
                with workers(count, with_torch=several, fresh=True) as pool:
                    begun = [
                        pool.submit(_train, recipe, self.output(recipe, seed), seed, *options)
                        for recipe, seed in some
                    ]
                    try:
                        for done in as_completed(begun):
                            done.result()
                            bar.update()
                    except BaseException:
                        pool.shutdown(cancel_futures=True)
                        raise

    def rounds(self, jobs: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
        """Trainings in an order in which no stage is trained twice, each round at once.

        Of those that begin alike one goes first, and the others take its stages in a later round.
        """
        waiting, known = list(jobs), set[str]()
        found: list[list[tuple[str, int]]] = []
        while waiting:
            now: list[tuple[str, int]] = []
            claimed = set[str]()
            for recipe, seed in waiting:
                stages = list(configs(recipe, seed=seed, model=self.model).items())
                # All of a recipe's beginnings but the whole of it, which is its own.
                begins = {repr(stages[:end]) for end in range(1, len(stages))} - known
                if not begins & claimed:
                    now.append((recipe, seed))
                    claimed |= begins
            known |= claimed
            waiting = [job for job in waiting if job not in now]
            found.append(now)
        return found

    def share_stages(self, recipe: str, seed: int) -> list[str]:
        """Copy the first stages of this training from one here that has trained them alike.

        Returns:
            The stages that are there afterwards and were not before.
        """
        mine = configs(recipe, seed=seed, model=self.model)
        output = self.output(recipe, seed)
        taken: list[str] = []
        for folder in sorted(self.folder.glob(f"*-{seed}")):
            other = folder.name.removesuffix(f"-{seed}")
            if other == recipe or other not in RECIPES:
                continue
            theirs = configs(other, seed=seed, model=self.model)
            for (stage, config), there in zip(mine.items(), theirs.items(), strict=False):
                # A stage goes on from the one before it: all before it must be alike, too.
                if there != (stage, config) or not (folder / stage / "adapter").is_dir():
                    break
                # The recipes are alike today; the training may be of another day or generator.
                if config_diff(folder / stage, config) - GIVEN:
                    break
                if stage and not (output / stage).exists():
                    ignored = shutil.ignore_patterns("checkpoints")
                    with whole_folder(output / stage) as beside:
                        shutil.copytree(folder / stage, beside, ignore=ignored, dirs_exist_ok=True)
                    taken.append(stage)
        return taken

    def methods(self, arm: Arm, seeds: Sequence[int], *, steps: int) -> list[Method]:
        """An arm's row, a method for each training seed; one alone where nothing is trained.

        Args:
            arm: the row.
            seeds: training seeds; what they need is there (`require`).
            steps: denoising steps, of which the arm's window takes shares.
        """
        window = None if arm.window is None else steps_of(arm.window, steps)

        def method(seed: int | None) -> Method:
            places = [str(self.place(r, seed)) for r in arm.recipes] if seed is not None else []
            scorer = None
            if arm.scorer is not None and seed is not None:
                scorer = self.place(arm.scorer, seed)
            return Method(
                name=arm.name,
                adapter="+".join(places) or None,
                adapter_scale=arm.adapter_scale,
                step_window=window,
                velocity_source=arm.velocity_source,
                top_k=arm.top_k,
                labels=arm.labels,
                best_of=arm.best_of,
                scorer=scorer,
                training_seed=seed,
            )

        return [method(seed) for seed in seeds] if arm.trained else [method(None)]


def steps_of(window: tuple[float, float], steps: int) -> tuple[int, int]:
    """Shares of the schedule as first and last step, counted from 1; at least one step."""
    first, last = round(window[0] * steps) + 1, round(window[1] * steps)
    return min(first, steps), max(last, min(first, steps))


def chosen_arms(experiment: Experiment, only: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of those names, in the experiment's order; all where none are named.

    Raises:
        InputError: an unknown name.
    """
    names = [arm.name for arm in experiment.arms]
    if unknown := [name for name in only if name not in names]:
        raise InputError(
            f"only has {', '.join(unknown)}; the rows of {experiment.name} are {', '.join(names)}"
        )
    return tuple(arm for arm in experiment.arms if not only or arm.name in only)


def _train(
    recipe: str, output: Path, seed: int, model: str | None, checkpoint_every: int, progress: bool
) -> None:
    from pila.recipes.run import run

    run(
        recipe,
        output,
        seed=seed,
        model=model,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )
