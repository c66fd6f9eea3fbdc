"""GStreamer's webrtcbin as a client: run by Debian's own Python, which has its bindings.

It speaks JSON, a line each. On stdout: its offer, its state, the events that it is sent, and ten times a second how
many packets of sound it was sent. On stdin: the answer, and files to say (see tests/peers/peer.py for their form).
"""

import argparse
import json
import struct
import sys
from collections import deque
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 - the versions come first

SILENCE = b"\xf8\xff\xfe"
PIPELINE = """webrtcbin name=peer bundle-policy=max-bundle
 appsrc name=microphone is-live=true format=time do-timestamp=true
 caps=audio/x-opus,rate=48000,channels=1,channel-mapping-family=0
 ! rtpopuspay pt=96 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=96 ! peer."""


def say(**fact: Any) -> None:  # noqa: ANN401 - JSON
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


class GStreamerPeer:
    """The pipeline, and what comes of it."""

    def __init__(self, *, direction: str, channel: bool) -> None:
        self.to_say: deque[bytes] = deque()
        self.packets = 0
        self.pipeline = Gst.parse_launch(PIPELINE)
        self.peer = self.pipeline.get_by_name("peer")
        self.microphone = self.pipeline.get_by_name("microphone")
        # libnice takes no loopback interface by itself, and a gateway of a test may be reached on no other.
        self.ice = self.peer.get_property("ice-agent")  # kept: Python has taken the one reference to it
        self.ice.emit("add-local-ip-address", "127.0.0.1")
        wanted = getattr(GstWebRTC.WebRTCRTPTransceiverDirection, direction.upper())
        self.peer.emit("get-transceiver", 0).set_property("direction", wanted)
        self.peer.connect("pad-added", self.on_stream)
        self.peer.connect("notify::connection-state", self.on_state)
        self.pipeline.set_state(Gst.State.READY)
        if channel:
            self.channel = self.peer.emit("create-data-channel", "oai-events", None)
            self.channel.connect("on-message-string", lambda _, text: say(event=json.loads(text)))
        self.peer.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(20, self.on_frame)
        GLib.timeout_add(100, self.on_tenth)

    def on_negotiation_needed(self, _: Any) -> None:  # noqa: ANN401 - GObject
        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))

    def on_offer(self, promise: Any) -> None:  # noqa: ANN401 - GObject
        reply = promise.get_reply()  # owns what is in it
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())
        say(offer=offer.sdp.as_text())

    def on_answer(self, text: str) -> None:
        _, answer = GstSdp.SDPMessage.new_from_text(text)
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, answer)
        self.peer.emit("set-remote-description", described, Gst.Promise.new())

    def on_state(self, *_: Any) -> None:  # noqa: ANN401 - GObject
        say(state=self.peer.get_property("connection-state").value_nick)

    def on_stream(self, _: Any, pad: Any) -> None:  # noqa: ANN401 - GObject
        if pad.get_direction() == Gst.PadDirection.SRC:
            sink = Gst.ElementFactory.make("fakesink")
            sink.set_property("sync", False)  # noqa: FBT003 - GObject's
            sink.set_property("async", False)  # noqa: FBT003 - GObject's
            self.pipeline.add(sink)
            sink.sync_state_with_parent()
            pad.link(sink.get_static_pad("sink"))
            pad.add_probe(Gst.PadProbeType.BUFFER, self.on_packet)

    def on_packet(self, *_: Any) -> Any:  # noqa: ANN401 - GObject
        self.packets += 1
        return Gst.PadProbeReturn.OK

    def on_frame(self) -> bool:
        buffer = Gst.Buffer.new_wrapped(self.to_say.popleft() if self.to_say else SILENCE)
        buffer.duration = 20 * Gst.MSECOND
        self.microphone.emit("push-buffer", buffer)
        return True

    def on_tenth(self) -> bool:
        say(packets=self.packets)
        return True

    def on_command(self, source: Any, _: Any) -> bool:  # noqa: ANN401 - GLib
        line = source.readline()
        if not line:
            sys.exit()
        command = json.loads(line)
        if "answer" in command:
            self.on_answer(command["answer"])
        if "say" in command:
            data = Path(command["say"]).read_bytes()
            while data:
                (size,) = struct.unpack_from(">H", data)
                self.to_say.append(data[2 : 2 + size])
                data = data[2 + size :]
        return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--direction", default="sendrecv")
    parser.add_argument("--channel", action="store_true")
    asked = parser.parse_args()
    Gst.init(None)
    peer = GStreamerPeer(direction=asked.direction, channel=asked.channel)
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, peer.on_command)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
