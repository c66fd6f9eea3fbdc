"""The settings of one response: what its `response.create` sets, over the session's."""

from services.rehearsal.core.config import CompleteSession, check_reasoning, voice_is_fixed
from services.rehearsal.core.conversation_items import ConversationItems
from services.rehearsal.core.faults import Faults, faults_in
from services.rehearsal.core.response import ResponseSpec
from services.rehearsal.core.response_wire import ResponseParams
from services.rehearsal.core.tool_fields import check_choice

_THINKING_TOKENS = {"minimal": 0, "low": 40, "medium": 120, "high": 400, "xhigh": 1200}


def response_spec(
    params: ResponseParams,
    session: CompleteSession,
    *,
    response_id: str,
    conversation: ConversationItems,
    has_spoken: bool,
    faults: Faults,
) -> ResponseSpec:
    """Return the settings of a response on the conversation. ``has_spoken``: the session's voice was heard.

    Raises:
        EventRefusedError: a field of ``params`` cannot be carried out in this session.
    """
    output = params.audio.output if params.audio else None
    voice = output.voice if output and output.voice else session.audio.output.voice
    if has_spoken and voice != session.audio.output.voice:
        raise voice_is_fixed("response.audio.output.voice")
    check_reasoning(session.model, params.reasoning, params.parallel_tool_calls, "response")
    tools = session.tools if params.tools is None else params.tools
    choice = params.tool_choice or session.tool_choice
    check_choice(choice, tools, "response")
    instructions = session.instructions if params.instructions is None else params.instructions
    reasoning = params.reasoning or session.reasoning
    parallel = session.parallel_tool_calls if params.parallel_tool_calls is None else params.parallel_tool_calls
    return ResponseSpec(
        id=response_id,
        modality=(params.output_modalities or session.output_modalities)[0],
        instructions=instructions,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=bool(parallel),
        truncation=session.truncation,
        thinking_tokens=_THINKING_TOKENS[reasoning.effort] if reasoning and reasoning.effort else 0,
        max_tokens=params.max_output_tokens or session.max_output_tokens,
        metadata=params.metadata,
        voice=voice,
        speed=session.audio.output.speed,
        given=None,
        conversation=None if params.conversation == "none" else conversation,
        faults=faults_in(instructions, faults),
    )
