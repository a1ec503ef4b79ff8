"""What is sent: messages composed and cut to the context window, with the prefix that may be cached."""

from fluido.llm.prompt._budget import Budget
from fluido.llm.prompt._compose import Composer, Prompt
from fluido.llm.prompt._kind import detect
from fluido.llm.prompt._prefix import Prefix
from fluido.llm.prompt._presets import Presets, thinking_bound
from fluido.llm.prompt._spoken import without_system
from fluido.llm.prompt._thoughts import ThinkTags, only_thoughts

__all__ = [
    "Budget",
    "Composer",
    "Prefix",
    "Presets",
    "Prompt",
    "ThinkTags",
    "detect",
    "only_thoughts",
    "thinking_bound",
    "without_system",
]
