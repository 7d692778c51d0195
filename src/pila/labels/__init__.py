"""Which physical categories a prompt is about: an LLM parser and an offline one."""

from pila.labels.parser import (
    Parse,
    Parser,
    ParserUnavailable,
    check_prompt,
    make_parser,
    parse_categories,
    parse_category,
)

__all__ = [
    "Parse",
    "Parser",
    "ParserUnavailable",
    "check_prompt",
    "make_parser",
    "parse_categories",
    "parse_category",
]
