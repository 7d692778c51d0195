"""Which physical categories a prompt is about: an LLM parser and an offline one."""

from pila.labels.parse import (
    Parse,
    Parser,
    ParserUnavailable,
    check_prompt,
    parse_categories,
    parse_category,
)
from pila.labels.parser import make_parser

__all__ = [
    "Parse",
    "Parser",
    "ParserUnavailable",
    "check_prompt",
    "make_parser",
    "parse_categories",
    "parse_category",
]
