"""Conversations with branches, as a file has them."""

import json

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.conversations.dialogues import read_dialogues


def user(text, **keys):
    return {"role": "user", "content": text} | keys


def says(text):
    return {"role": "assistant", "content": text}


AGENT = [
    {"role": "system", "content": "S"},
    user("Q"),
    says("A"),
    {
        "branches": [
            [user("1", delay_s=0.5), says("a"), user("2"), says("b")],
            [
                user("3"),
                says("c"),
                {"branches": [[user("4"), says("d")], [user("5"), says("e")]]},
                user("6"),
                says("f"),
            ],
        ]
    },
    user("J"),
    says("B"),
    {"branches": [[user("7"), says("g")]], "background": True},
    user("L"),
    says("C"),
]


def read(path, *rows, run=None, **keys):
    path.write_text("\n".join(json.dumps({"messages": row}) for row in rows))
    workload = Workload.model_validate({"kind": "conversation", "file": str(path)} | keys)
    return read_dialogues(workload, run or Run())
