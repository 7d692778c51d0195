"""A new label parser: words of one's own trade first, the offline lexicon for all others."""

import re
from dataclasses import replace

from pila.labels import Parse, Parser, check_prompt, make_parser
from pila.labels.evaluate import evaluate
from pila.physics import Category

FOUNDRY = {
    r"\b(ladle|crucible)\b": (Category.FLUID, Category.THERMAL),
    r"\b(quench|anneal)\w*": (Category.THERMAL, Category.PHASE_CHANGE),
}


class TradeParser:
    """Any callable that takes a prompt and returns a Parse is a parser."""

    def __init__(self) -> None:
        self.otherwise: Parser = make_parser("offline")

    def __call__(self, prompt: str) -> Parse:
        """Parses one prompt; raises `InputError` for an unusable one."""
        text, parse = check_prompt(prompt), self.otherwise(prompt)
        for pattern, categories in FOUNDRY.items():
            if word := re.search(pattern, text.lower()):
                evidence = dict.fromkeys(categories, (word[0],))
                return replace(parse, categories=categories, evidence=evidence, parser="trade")
        return parse


parser = TradeParser()
for prompt in ("a worker quenches a red blade in oil", "two rubber balls collide head-on"):
    print(prompt, "->", ", ".join(parser(prompt).categories))
report = evaluate(parser, "development")  # half of the 200 labelled prompts that are shipped
print(f"micro F1 {report.micro.f1:.3f} on {report.prompts} prompts")
