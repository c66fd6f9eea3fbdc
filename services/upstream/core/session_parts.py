"""The parts of a session's core, each connected to those that it uses."""

from dataclasses import dataclass

from services.contracts.grant import Grant
from services.contracts.turn_detection import DetectsTurns
from services.upstream.core.call_rates import CallRates
from services.upstream.core.caller_audio_rate import CallerAudioRate
from services.upstream.core.caller_turns import CallerTurns
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.command_buffer import CommandBuffer
from services.upstream.core.eager_turns import EagerTurns
from services.upstream.core.eager_waste import EagerWaste
from services.upstream.core.idle_timeout import IdleTimeout
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.item_events import ItemEvents
from services.upstream.core.item_registry import ItemRegistry
from services.upstream.core.response import ResponseContext
from services.upstream.core.responses import ResponseTracker
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.session_updates import SessionUpdates
from services.upstream.core.taken_back import TakenBackTurn
from services.upstream.core.transcript import SpeakingRate
from services.upstream.core.usage import Tally


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one session."""

    commands: CommandBuffer
    ids: IdMap
    config: SessionConfigState
    conversation: ItemRegistry
    rates: CallRates
    responses: ResponseTracker
    input_buffer: InputAudioBuffer
    turns: CallerTurns
    item_events: ItemEvents
    tally: Tally
    capabilities: Capabilities
    updates: SessionUpdates
    eager: EagerTurns


def connected_parts(
    config: SessionConfigState,
    *,
    grant: Grant,
    capabilities: Capabilities,
    begins_with: DetectsTurns,
    eager_waste_percent: int,
) -> Parts:
    """Return the parts of a new session. ``begins_with``: the turn detection in force when the call begins.

    ``eager_waste_percent``: see `EagerWaste`.
    """
    waste = EagerWaste(eager_waste_percent)
    commands = CommandBuffer()
    ids = IdMap()
    tally = Tally()
    conversation = ItemRegistry()
    shared = ResponseContext(commands, ids, SpeakingRate(), conversation, config.conversation_id, capabilities)
    rates = CallRates(commands, token=grant.limits, tenant=grant.tenant_limits)
    responses = ResponseTracker(shared, tally, rates, waste=waste, publishes_turns="turn" in grant.events)
    input_buffer = InputAudioBuffer(
        commands,
        ids,
        config,
        conversation=conversation,
        tally=tally,
        capabilities=capabilities,
        rate=CallerAudioRate(rates),
    )
    idle = IdleTimeout(commands, config, input_buffer=input_buffer, responses=responses, tally=tally)
    turns = CallerTurns(
        commands,
        config,
        input_buffer=input_buffer,
        responses=responses,
        idle=idle,
        granted=begins_with,
        capabilities=capabilities,
        waste=waste,
    )
    taken_back = TakenBackTurn(commands, ids, config, tally=tally, waste=waste, meter=capabilities.meter)
    eager = EagerTurns(
        commands,
        ids,
        input_buffer=input_buffer,
        responses=responses,
        rates=rates,
        turns=turns,
        taken_back=taken_back,
    )
    updates = SessionUpdates(commands, ids, config, capabilities, turns=turns)
    item_events = ItemEvents(commands, ids, config, conversation=conversation, input_buffer=input_buffer)
    return Parts(
        commands=commands,
        ids=ids,
        config=config,
        conversation=conversation,
        rates=rates,
        responses=responses,
        input_buffer=input_buffer,
        turns=turns,
        item_events=item_events,
        tally=tally,
        capabilities=capabilities,
        updates=updates,
        eager=eager,
    )
