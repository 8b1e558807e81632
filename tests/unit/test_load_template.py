"""Whether a chat template leaves what was said before as it was."""

import pytest

from mls.config.sections.run import Run
from mls.load.workload.conversations.template import keeps_history
from mls.load.workload.conversations.turns import Dialogue, Turn

CHAT = Run(inflight=1, iters=1)
LONG = "a question of the user, " * 8


def plain(messages):
    """ChatML, with the thought that Qwen's template begins a reply with if there is to be none."""
    said = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return f"{said}<|im_start|>assistant\n<think>\n\n</think>\n\n"


def system_last(messages):
    """Mistral's: the system's message stands in the user's last one."""
    system = "".join(m["content"] for m in messages if m["role"] == "system")
    *before, last = (m["content"] for m in messages if m["role"] != "system")
    return "".join(f"[INST]{text}" for text in before) + f"[INST]{system}{last}[/INST]"


def thoughts_of_tools(messages):
    """What stands between a call and its result goes once the user asks anew."""
    last = max(place for place, m in enumerate(messages) if m["role"] == "user")
    thought = "<think>" + "thought " * 20 + "</think>"
    return "".join(
        (thought if place > last and m["role"] == "assistant" else "")
        + f"{m['role']}:{m['content']}"
        for place, m in enumerate(messages)
    )


class Server:
    """A server that shows what its template makes of messages: as text, as tokens, or not at all."""

    def __init__(self, template=None, tokens_of=None):
        self.template, self.tokens_of = template, tokens_of
        self.fields = []

    def apply_template(self, messages, fields):
        self.fields.append(fields)
        return self.template(messages) if self.template else None

    def message_tokens(self, messages, model, fields):
        return [ord(each) for each in self.tokens_of(messages)] if self.tokens_of else None


def of_tools():
    turns = (
        Turn([{"role": "user", "content": LONG}], [{"role": "assistant", "content": "call"}]),
        Turn([{"role": "tool", "content": LONG}], [{"role": "assistant", "content": "It is."}]),
        Turn([{"role": "user", "content": LONG}], []),
    )
    return [Dialogue(1, (turns[0],)), Dialogue(2, turns)]


def test_tools_of_a_conversation_are_part_of_what_is_tried():
    server = Server(plain)
    tools = [{"type": "function", "function": {"name": "look"}}]
    assert kept(server, dialogues=[Dialogue(1, of_tools()[1].turns, tools)]) is True
    assert all(each == {"tools": tools} for each in server.fields)


def kept(server, run=CHAT, system=None, dialogues=None):
    return keeps_history(server, run, system, "model", dialogues)


def test_a_template_that_only_adds_keeps_what_was_said():
    assert kept(Server(plain)) is True
    assert kept(Server(plain), system="Be brief. " * 20, dialogues=of_tools()) is True
    assert kept(Server(tokens_of=lambda messages: plain(messages)[:-20])) is True


def test_a_template_that_moves_the_systems_message_does_not():
    assert kept(Server(system_last)) is True
    assert kept(Server(system_last), system="Be brief. " * 20) is False
    assert kept(Server(tokens_of=system_last), system="Be brief. " * 20) is False


def test_the_conversations_of_a_file_are_tried():
    assert kept(Server(thoughts_of_tools)) is True
    assert kept(Server(thoughts_of_tools), dialogues=of_tools()) is False


def test_a_server_that_does_not_show_its_template_leaves_it_unknown():
    assert kept(Server()) is None
    assert kept(Server(plain), CHAT.model_copy(update={"endpoint": "/v1/completions"})) is None


@pytest.mark.parametrize(
    "endpoint, passed", [("/v1/chat/completions", True), ("/v1/responses", False)]
)
def test_tools_of_a_chat_are_part_of_what_is_tried(endpoint, passed):
    extra = {"tools": [{"type": "function", "function": {"name": "look"}}], "top_k": 1}
    server = Server(plain)
    kept(server, CHAT.model_copy(update={"endpoint": endpoint, "request_extra": extra}))
    expected = {"tools": extra["tools"]} if passed else {}
    assert server.fields and all(each == expected for each in server.fields)
