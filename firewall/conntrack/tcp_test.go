package conntrack

import (
	"fmt"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A tcpStep is one segment of a dialogue, and what becomes of the flow.
type tcpStep struct {
	at    time.Duration
	reply bool
	f     tcpFields
	want  packet.TrackState
	state string // of the flow; "" for none
	left  int    // seconds
}

const (
	syn = wire.TCPSyn
	fin = wire.TCPFin | wire.TCPAck
	ack = wire.TCPAck
	rst = wire.TCPRst
)

var (
	isNew  = packet.TrackNew
	isEst  = packet.TrackEstablished
	isInv  = packet.TrackInvalid
	day5   = 5 * 24 * 3600
	wscale = []byte{1, 3, 3, 7}
	sackOK = []byte{4, 2, 1, 3, 3, 7, 1, 1}
)

func open3() []tcpStep {
	return []tcpStep{
		{0, false, tcpFields{flags: syn, seq: 100, win: 1000}, isNew, "SYN_SENT", 120},
		{0, true, tcpFields{flags: syn | ack, seq: 500, ack: 101, win: 2000}, isEst, "SYN_RECV", 60},
		{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", day5},
	}
}

func with(a []tcpStep, b ...tcpStep) []tcpStep { return append(a, b...) }

func TestTCPDialogues(t *testing.T) {
	for name, d := range map[string]struct {
		set   Settings
		steps []tcpStep
	}{
		"open and close": {Settings{}, with(open3(),
			tcpStep{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000, payload: "hello"}, isEst, "ESTABLISHED", 300},
			tcpStep{0, true, tcpFields{flags: ack, seq: 501, ack: 106, win: 2000}, isEst, "ESTABLISHED", day5},
			tcpStep{0, true, tcpFields{flags: fin, seq: 501, ack: 106, win: 2000}, isEst, "FIN_WAIT", 120},
			tcpStep{0, false, tcpFields{flags: ack, seq: 106, ack: 502, win: 1000}, isEst, "CLOSE_WAIT", 60},
			tcpStep{0, false, tcpFields{flags: fin, seq: 106, ack: 502, win: 1000}, isEst, "LAST_ACK", 30},
			tcpStep{0, true, tcpFields{flags: ack, seq: 502, ack: 107, win: 2000}, isEst, "TIME_WAIT", 120},
			tcpStep{1 * sec, false, tcpFields{flags: syn, seq: 9000, win: 1000}, isNew, "SYN_SENT", 120})},
		"refused": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn, seq: 100, win: 1000}, isNew, "SYN_SENT", 120},
			{0, true, tcpFields{flags: rst | ack, ack: 101}, isEst, "", 0}}},
		"repeated SYN does not extend": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn, seq: 100, win: 1000}, isNew, "SYN_SENT", 120},
			{20 * sec, false, tcpFields{flags: syn, seq: 100, win: 1000}, isNew, "SYN_SENT", 100}}},
		"simultaneous open": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn, seq: 100, win: 1000}, isNew, "SYN_SENT", 120},
			{0, true, tcpFields{flags: syn, seq: 500, win: 1000}, isEst, "SYN_SENT2", 120},
			{0, false, tcpFields{flags: syn | ack, seq: 100, ack: 501, win: 1000}, isEst, "SYN_RECV", 60},
			{0, true, tcpFields{flags: syn | ack, seq: 500, ack: 101, win: 1000}, isEst, "SYN_RECV", 60},
			{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", day5}}},
		"beyond the window": {Settings{}, with(open3(),
			tcpStep{0, true, tcpFields{flags: ack, seq: 501 + 1000, ack: 101, win: 2000, payload: "x"}, isEst, "ESTABLISHED", 300},
			tcpStep{0, true, tcpFields{flags: ack, seq: 501 + 5000, ack: 101, win: 2000, payload: "x"}, isInv, "ESTABLISHED", 300},
			tcpStep{0, true, tcpFields{flags: ack, seq: 501, ack: 5000, win: 2000}, isInv, "ESTABLISHED", 300})},
		"liberal": {Settings{TCPBeLiberal: true}, with(open3(),
			tcpStep{0, true, tcpFields{flags: ack, seq: 501 + 50000, ack: 101, win: 2000, payload: "x"}, isEst, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: rst, seq: 99}, isInv, "ESTABLISHED", day5})},
		"reset": {Settings{}, with(open3(),
			tcpStep{0, true, tcpFields{flags: ack, seq: 501, ack: 101, win: 2000}, isEst, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: rst, seq: 100}, isInv, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: rst, seq: 110}, isEst, "ESTABLISHED", 10},
			tcpStep{1 * sec, false, tcpFields{flags: rst, seq: 101}, isEst, "CLOSE", 10})},
		"flags that cannot be": {Settings{}, with(open3(),
			tcpStep{0, false, tcpFields{flags: syn | wire.TCPFin, seq: 101, win: 1000}, isInv, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: 0, seq: 101, win: 1000}, isInv, "ESTABLISHED", day5})},
		"picked up": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: ack, seq: 100, ack: 500, win: 10}, isNew, "ESTABLISHED", 300},
			{0, true, tcpFields{flags: ack, seq: 500, ack: 100, win: 10}, isEst, "ESTABLISHED", 300},
			{0, true, tcpFields{flags: ack, seq: 60000, ack: 100, win: 10, payload: "scaled"}, isEst, "ESTABLISHED", day5}}},
		"not picked up": {Settings{TCPStrict: true}, []tcpStep{
			{0, false, tcpFields{flags: ack, seq: 100, ack: 500, win: 10}, isInv, "", 0}}},
		"SYN-ACK out of nothing": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn | ack, seq: 100, ack: 500, win: 10}, isInv, "", 0}}},
		"out of sync": {Settings{}, with(open3(),
			// The client has lost its state and begins anew; a challenge ACK and
			// its reset clear the way (RFC 5961 §4).
			tcpStep{0, false, tcpFields{flags: syn, seq: 7000, win: 1000}, isEst, "ESTABLISHED", day5},
			tcpStep{0, true, tcpFields{flags: syn | ack, seq: 9000, ack: 7001, win: 2000}, isEst, "SYN_RECV", 60},
			tcpStep{0, false, tcpFields{flags: ack, seq: 7001, ack: 9001, win: 1000}, isEst, "ESTABLISHED", day5})},
		"scaled windows": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn, seq: 100, win: 1000, options: wscale}, isNew, "SYN_SENT", 120},
			{0, true, tcpFields{flags: syn | ack, seq: 500, ack: 101, win: 2000, options: wscale}, isEst, "SYN_RECV", 60},
			{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", day5},
			{0, true, tcpFields{flags: ack, seq: 501 + 127000, ack: 101, win: 2000, payload: "x"}, isEst, "ESTABLISHED", 300}}},
		"window of zero": {Settings{}, with(open3(),
			tcpStep{0, true, tcpFields{flags: ack, seq: 501, ack: 101, win: 0}, isEst, "ESTABLISHED", 300})},
		"repetitions": {Settings{}, with(open3(),
			tcpStep{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", day5},
			tcpStep{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000}, isEst, "ESTABLISHED", 300})},
		"selective acknowledgment beyond": {Settings{}, []tcpStep{
			{0, false, tcpFields{flags: syn, seq: 100, win: 1000, options: sackOK}, isNew, "SYN_SENT", 120},
			{0, true, tcpFields{flags: syn | ack, seq: 500, ack: 101, win: 2000, options: sackOK}, isEst, "SYN_RECV", 60},
			{0, false, tcpFields{flags: ack, seq: 101, ack: 501, win: 1000,
				options: []byte{1, 1, 5, 10, 0, 0, 2, 0, 0, 1, 0, 0}}, isInv, "SYN_RECV", 60}}},
	} {
		t.Run(name, func(t *testing.T) {
			ct := NewTable(d.set)
			for i, s := range d.steps {
				p := tcp(client, server, 4000, 80, s.f)
				if s.reply {
					packet.Free(p)
					p = tcp(server, client, 80, 4000, s.f)
				}
				got, _ := ct.pass(p, s.at)
				var state string
				var left int
				if l := ct.List(s.at); len(l) == 1 {
					state, left = l[0].State, l[0].Timeout
				}
				if want := fmt.Sprint(s.want, s.state, s.left); fmt.Sprint(got, state, left) != want {
					t.Errorf("step %d: %v, want %v", i, fmt.Sprint(got, state, left), want)
				}
			}
		})
	}
}
