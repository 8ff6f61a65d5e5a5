"""OpenAI's ways in the Responses API."""

from __future__ import annotations

import re

from clawbench.emulator.dialects.manners import Manners


class OpenAIResponsesManners(Manners):
    """The same servers, other ids."""

    chat_path = re.compile(r"/responses/?$")
    states_usage_unasked = True
    id_prefix = "resp_"
