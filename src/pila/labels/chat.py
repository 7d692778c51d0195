"""One chat completion from any OpenAI-compatible server, and what can go wrong with it.

The label parser and the benchmark judges both ask through here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from openai import OpenAI

Message = dict[str, Any]


class ChatFailed(Exception):
    """No text came back, and asking again would not help; the message is the fault alone."""


class ChatTransient(Exception):
    """A failure that a second attempt may not meet; the message is the fault alone."""


def shown_address(url: str) -> str:
    """A server's address as messages and logs name it: no user, no password, no path."""
    try:
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2]
    except ValueError:  # brackets without an IPv6 address
        where = ""
    return f"{parts.scheme}://{where}" if where else "(no whole address)"


@contextmanager
def chat_client(base_url: str, api_key: str, timeout: float) -> Iterator["OpenAI"]:
    """A client without retries of its own; the callers count attempts."""
    from openai import OpenAI

    with OpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=0) as client:
        yield client


def complete(
    client: "OpenAI",
    messages: Sequence[Message],
    *,
    model: str,
    timeout: float,
    json_object: bool,
    **options: Any,
) -> str:
    """The text of one answer at temperature 0.

    Args:
        client: from `chat_client`.
        messages: as the protocol has them.
        model: the model's name there.
        timeout: the client's seconds, for the message.
        json_object: ask for JSON mode; servers that do not know it (400) are asked without it.
        options: further fields of the request.

    Raises:
        ChatTransient: a time-out, an overload, or a reply that is no chat completion.
        ChatFailed: no connection, or the request was refused.
    """
    from openai import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        BadRequestError,
        OpenAIError,
    )

    def send(**extra: Any) -> Any:
        create: Callable[..., Any] = client.chat.completions.create
        return create(model=model, messages=list(messages), temperature=0, **options, **extra)

    try:
        try:
            response = send(**({"response_format": {"type": "json_object"}} if json_object else {}))
        except BadRequestError:
            if not json_object:
                raise
            response = send()
        message = response.choices[0].message
        content, refusal = message.content, getattr(message, "refusal", None)
    except APITimeoutError:
        raise ChatTransient(f"no answer within {timeout:g} s") from None
    except APIConnectionError as error:
        raise ChatFailed(f"no connection ({error.__cause__ or error})") from error
    except APIStatusError as error:
        said = f"HTTP status {error.status_code}"
        if error.status_code >= 500 or error.status_code in (408, 429):
            raise ChatTransient(said) from None
        raise ChatFailed(f"{said}: {' '.join(error.message.split())[:200]}") from error
    except (OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
        # A body that is not JSON, or JSON that is no chat completion.
        raise ChatTransient(f"the reply is no chat completion ({type(error).__name__})") from None
    if content is None and isinstance(refusal, str):
        content = refusal  # an answer, if none that fits
    if not isinstance(content, str):
        raise ChatTransient("the reply holds no text")
    return content
