// Pion as a client. It speaks JSON, a line each. On stdout: its offer, its state, the events that it is sent, and ten
// times a second how many packets of sound it was sent. On stdin: the answer, and files to say (see ../peer.py).
package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

type command struct {
	Answer string `json:"answer"`
	Say    string `json:"say"`
}

var silence = []byte{0xf8, 0xff, 0xfe}

var lines = make(chan []byte, 1024)

func say(name string, fact any) {
	line, err := json.Marshal(map[string]any{name: fact})
	must(err)
	lines <- append(line, '\n')
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func key(kind string) (private crypto.PrivateKey) {
	var err error
	switch kind {
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	must(err)
	return private
}

func microphone(track *webrtc.TrackLocalStaticSample, saying <-chan []byte) {
	for range time.Tick(20 * time.Millisecond) {
		packet := silence
		select {
		case packet = <-saying:
		default:
		}
		must(track.WriteSample(media.Sample{Data: packet, Duration: 20 * time.Millisecond}))
	}
}

func read(path string, saying chan<- []byte) {
	data, err := os.ReadFile(path)
	must(err)
	for len(data) > 0 {
		size := 2 + int(binary.BigEndian.Uint16(data))
		saying <- data[2:size]
		data = data[size:]
	}
}

func main() {
	direction := flag.String("direction", "sendrecv", "of the audio: sendrecv or sendonly")
	channel := flag.Bool("channel", false, "open the data channel of events")
	kind := flag.String("key", "ecdsa", "of the certificate: ecdsa or rsa")
	flag.Parse()
	go func() {
		for line := range lines {
			_, err := os.Stdout.Write(line)
			must(err)
		}
	}()

	certificate, err := webrtc.GenerateCertificate(key(*kind))
	must(err)
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	peer, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(
		webrtc.Configuration{Certificates: []webrtc.Certificate{*certificate}})
	must(err)
	track, err := webrtc.NewTrackLocalStaticSample(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", "peer")
	must(err)
	_, err = peer.AddTransceiverFromTrack(track,
		webrtc.RTPTransceiverInit{Direction: webrtc.NewRTPTransceiverDirection(*direction)})
	must(err)
	if *channel {
		events, err := peer.CreateDataChannel("oai-events", nil)
		must(err)
		events.OnMessage(func(message webrtc.DataChannelMessage) { say("event", json.RawMessage(message.Data)) })
	}

	var packets atomic.Int64
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := remote.ReadRTP(); err != nil {
				return
			}
			packets.Add(1)
		}
	})
	saying := make(chan []byte, 4096)
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		say("state", state.String())
		if state == webrtc.PeerConnectionStateConnected {
			go microphone(track, saying)
		}
	})
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			say("packets", packets.Load())
		}
	}()

	offer, err := peer.CreateOffer(nil)
	must(err)
	must(peer.SetLocalDescription(offer))
	say("offer", offer.SDP)
	commands := bufio.NewScanner(os.Stdin)
	commands.Buffer(nil, 1<<20)
	for commands.Scan() {
		var asked command
		must(json.Unmarshal(commands.Bytes(), &asked))
		if asked.Answer != "" {
			must(peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: asked.Answer}))
		}
		if asked.Say != "" {
			read(asked.Say, saying)
		}
	}
}
