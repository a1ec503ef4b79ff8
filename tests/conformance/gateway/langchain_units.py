"""langchain-tests' integration suite for ChatOllama and ChatOpenAI, at the address that GATEWAY_URL names."""

import os

from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

URL, MODEL = os.environ["GATEWAY_URL"], os.environ["GATEWAY_MODEL"]
# The model of the suite is small and slow: what it says does not matter here.
TOKENS = 24


class Base(ChatModelIntegrationTests):
    """What SmolLM2 cannot do is left out for both ways."""

    __test__ = False
    has_tool_calling = False
    has_structured_output = False
    supports_image_inputs = False


class TestChatOllama(Base):
    """Ollama's own API."""

    __test__ = True
    supports_json_mode = True

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict:
        return {"model": MODEL, "base_url": URL, "num_predict": TOKENS, "temperature": 0}


class TestChatOpenAI(Base):
    """OpenAI's API of the same server."""

    __test__ = True

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict:
        return {"model": MODEL, "base_url": f"{URL}/v1", "api_key": "none", "max_tokens": TOKENS}
