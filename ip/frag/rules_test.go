package frag

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// step makes the fragment that a word of a script means:
//
//	16-24+   bytes 16 to 24, more follow
//
// with, behind slashes: ecn=0 to 3, df, id=N, src=N, proto=N, opt (IPv4
// options), hop (a hop-by-hop header), dst (destination options behind the
// Fragment header), other (other bytes), on=N (the adapter).
func step(word string, v6 bool) *packet.Packet {
	place, attrs, _ := strings.Cut(word, "/")
	var off, end int
	place, more := strings.CutSuffix(place, "+")
	if _, err := fmt.Sscanf(place, "%d-%d", &off, &end); err != nil {
		panic(word + ": " + err.Error())
	}
	f4 := wire.IPv4Fields{TTL: 64, ID: 1, Proto: wire.ProtoUDP, MF: more, FragOffset: off, Src: addr4(1), Dst: addr4(99)}
	f6 := wire.IPv6Fields{HopLimit: 64, Src: addr6(1), Dst: addr6(99)}
	id, proto, on := uint32(1), wire.ProtoUDP, int32(2)
	hop, dst := false, false
	data := payload(end)[off:]
	for a := range strings.SplitSeq(attrs, "/") {
		name, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "":
		case "ecn":
			f4.TOS, f6.TrafficClass = uint8(n), uint8(n)
		case "df":
			f4.DF = true
		case "id":
			f4.ID, id = uint16(n), uint32(n)
		case "src":
			f4.Src, f6.Src = addr4(n), addr6(n)
		case "proto":
			f4.Proto, proto = wire.Proto(n), wire.Proto(n)
		case "opt":
			f4.Options = append([]byte(nil), wire.IPv4RouterAlert...)
		case "hop":
			hop = true
		case "dst":
			dst = true
		case "other":
			data[0]++
		case "on":
			on = int32(n)
		case "local":
			f6.Src = netip.MustParseAddr("fe80::1")
		default:
			panic(word)
		}
	}
	var b wire.Builder
	b.Payload(data).SetProto(proto)
	if v6 {
		if dst {
			b.PushDestOpts(nil)
		}
		b.PushFragment(off, more, id)
		if hop {
			b.PushHopByHop(nil)
		}
		b.PushIPv6(f6)
	} else {
		b.PushIPv4(f4)
	}
	p := layout{linear: -1}.receive(b.Bytes())
	p.Ingress = on
	return p
}

// play runs a script and returns what became of each step.
func play(t *testing.T, tb *Table, s *teller, script string, v6 bool) string {
	var said []string
	for word := range strings.FieldsSeq(script) {
		if at, ok := strings.CutPrefix(word, "@"); ok {
			now, err := time.ParseDuration(at)
			if err != nil {
				t.Fatal(err)
			}
			tb.Timeout(now, s)
			said = append(said, fmt.Sprintf("%d expired", len(s.expired)))
			continue
		}
		p := step(word, v6)
		before := 0
		for _, n := range s.counts {
			before += n
		}
		o := tb.Add(0, p, nil, s)
		lost := -before
		for _, n := range s.counts {
			lost += n
		}
		var what string
		switch {
		case o.Whole != nil:
			what = fmt.Sprintf("whole %d", o.Whole.LenFrom(o.Whole.Transport))
			if o.RecvFragMax == 0 {
				what = "passes"
			} else {
				checkWhole(t, o.Whole)
				if ecn := o.Whole.TOS & 3; ecn != 0 {
					what += fmt.Sprintf(" ecn=%d", ecn)
				}
				if o.DF {
					what += " df"
				}
			}
			packet.Free(o.Whole)
		case o.Reason != packet.NotDropped:
			what = packet.Drop(p, o.Reason).String()
			what = strings.TrimPrefix(strings.TrimPrefix(what, "ip "), "fragment ")
			if o.Problem.Due {
				what += fmt.Sprintf(" (problem %d at %d)", o.Problem.Code, o.Problem.Pointer)
			}
		default:
			what = "waits"
		}
		if lost > 0 {
			what += fmt.Sprintf(" -%d", lost)
		}
		said = append(said, what)
	}
	return strings.Join(said, ", ")
}

// The rules, one a line: what comes, and what becomes of each. -N says that N
// others were given up with it.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		families     string
		name, script string
		want         string
	}{
		{"46", "in order", "0-16+ 16-24", "waits, whole 24"},
		{"46", "in reverse", "24-30 16-24+ 8-16+ 0-8+", "waits, waits, waits, whole 30"},
		{"46", "last odd", "0-8+ 8-9", "waits, whole 9"},
		{"46", "middle last", "0-8+ 16-24 8-16+", "waits, waits, whole 24"},
		{"46", "two datagrams", "0-8+/id=1 0-8+/id=2 8-16/id=2 8-16/id=1", "waits, waits, whole 16, whole 16"},
		{"46", "two sources", "0-8+/src=1 8-16/src=2", "waits, waits"},
		{"4", "two protocols (RFC 791 §3.2)", "0-8+/proto=17 8-16/proto=6", "waits, waits"},
		{"6", "protocols of others mean nothing (RFC 8200 §4.5)", "0-8+/proto=17 8-16/proto=6", "waits, whole 16"},
		{"46", "adapters do not matter", "0-8+/on=2 8-16/on=3", "waits, whole 16"},
		{"6", "adapters matter to link-local addresses", "0-8+/on=2/local 8-16/on=3/local 8-16/on=2/local", "waits, waits, whole 16"},
		{"46", "no fragment", "0-8", "passes"},
		{"46", "atomic fragments meet nobody (RFC 6946)", "0-8+ 0-8 8-16", "waits, passes, whole 16"},
		{"46", "headers longer in the first", "0-16+/opt/hop 16-24", "waits, whole 24"},
		{"46", "headers longer in the others", "0-16+ 16-24/opt/hop", "waits, whole 24"},

		{"46", "empty", "0-8+ 8-8", "waits, empty"},
		{"4", "empty first", "0-0+", "empty"},
		{"6", "empty first", "0-0+", "header incomplete (problem 3 at 0)"},
		{"4", "no multiple of 8", "0-9+ 0-8+ 8-16", "length odd, waits, whole 16"},
		{"6", "no multiple of 8 (RFC 8200 §4.5)", "0-9+ 0-8+ 8-16", "length odd (problem 0 at 4), waits, whole 16"},
		{"4", "as long as can be", "0-65504+ 65504-65515", "waits, whole 65515"},
		{"4", "longer than can be", "65504-65516", "beyond 65535 bytes"},
		{"4", "longer than can be with the first's options", "65504-65515 0-65504+/opt 0-65504+",
			"waits, beyond 65535 bytes, whole 65515"},
		{"4", "likewise, first the first", "0-65504+/opt 65504-65515", "waits, beyond 65535 bytes"},
		{"6", "as long as can be", "0-32768+ 32768-65528+ 65528-65535", "waits, waits, whole 65535"},
		{"6", "longer than can be (RFC 8200 §4.5)", "65528-65536", "beyond 65535 bytes (problem 0 at 42)"},
		{"6", "longer than can be with the first's headers", "65528-65535 32768-65528+ 0-32768+/hop 0-32768+",
			"waits, waits, beyond 65535 bytes (problem 0 at 50), whole 65535"},
		{"6", "first without UDP header (RFC 7112)", "0-0+ 0-8+", "header incomplete (problem 3 at 0), waits"},
		{"6", "first without TCP header (RFC 7112)", "0-16+/proto=6 0-24+/proto=6", "header incomplete (problem 3 at 0), waits"},
		{"6", "first without all of ICMPv6 header", "0-0+/proto=58 0-8+/proto=58", "header incomplete (problem 3 at 0), waits"},
		{"6", "first ending in destination options", "0-0+/proto=17/dst 0-8+/proto=17/dst", "header incomplete (problem 3 at 0), waits"},
		{"6", "first of a protocol unknown", "0-0+/proto=200 0-8+/proto=200", "header incomplete (problem 3 at 0), waits"},
		{"6", "first of nothing", "0-0+/proto=59", "empty"},
		{"4", "IPv4 may cut anywhere", "0-8+/proto=6 8-32/proto=6", "waits, whole 32"},

		{"46", "duplicates", "0-8+ 0-8+ 8-16+ 8-16+ 0-8+ 16-24", "waits, duplicate, waits, duplicate, duplicate, whole 24"},
		{"46", "duplicate last", "16-24 16-24 0-16+", "waits, duplicate, whole 24"},
		{"46", "same place, other bytes (RFC 5722)", "0-8+ 8-16+ 8-16+/other", "waits, waits, fragments overlap -2"},
		{"46", "same place, longer", "0-8+ 0-16+", "waits, fragments overlap -1"},
		{"46", "same place, shorter", "0-16+ 0-8+", "waits, fragments overlap -1"},
		{"46", "overlaps the end of one before", "0-16+ 8-24+", "waits, fragments overlap -1"},
		{"46", "overlaps the start of one behind", "8-24+ 0-16+", "waits, fragments overlap -1"},
		{"46", "inside another", "0-24+ 8-16+", "waits, fragments overlap -1"},
		{"46", "around another", "8-16+ 0-24+", "waits, fragments overlap -1"},
		{"46", "what comes later is discarded too (RFC 5722 §4)", "0-16+ 8-24+ 0-16+ 16-24 0-8",
			"waits, fragments overlap -1, of abandoned datagram, of abandoned datagram, passes"},
		{"46", "another datagram goes on", "0-8+/id=2 0-16+ 8-24+ 8-16/id=2", "waits, waits, fragments overlap -1, whole 16"},

		{"46", "two ends", "8-16 16-24", "waits, fragments disagree on end -1"},
		{"46", "an end before what is there", "16-24+ 8-16", "waits, fragments disagree on end -1"},
		{"46", "bytes behind the end", "8-16 16-24+", "waits, fragments disagree on end -1"},
		{"46", "the last once more, with others following", "8-16 8-16+", "waits, fragments overlap -1"},

		// RFC 3168 §5.3: 0 not ECN-capable, 1 and 2 ECN-capable, 3 congestion.
		{"46", "congestion in one", "0-8+/ecn=2 8-16/ecn=3", "waits, whole 16 ecn=3"},
		{"46", "congestion in the first", "0-8+/ecn=3 8-16/ecn=1", "waits, whole 16 ecn=3"},
		{"46", "all alike", "0-8+/ecn=1 8-16/ecn=1", "waits, whole 16 ecn=1"},
		{"46", "two capable", "0-8+/ecn=2 8-16/ecn=1", "waits, whole 16 ecn=2"},
		{"46", "congestion and not capable", "0-8+/ecn=0 8-16/ecn=3", "waits, fragments disagree on ecn -1"},
		{"46", "capable and not capable", "8-16/ecn=2 0-8+/ecn=0", "waits, fragments disagree on ecn -1"},

		{"4", "all with DF", "0-8+/df 8-16/df", "waits, whole 16 df"},
		{"4", "the largest with DF", "0-16+/df 16-24", "waits, whole 24 df"},
		{"4", "a smaller one with DF", "0-16+ 16-24/df", "waits, whole 24"},

		{"46", "time", "0-16+ @29999ms @60s 16-24", "waits, 0 expired, 1 expired, waits"},
		{"4", "IPv4's time (RFC 1122 §3.3.2)", "0-16+ @30s", "waits, 1 expired"},
		{"6", "IPv6's time (RFC 8200 §4.5)", "0-16+ @59999ms @60s", "waits, 0 expired, 1 expired"},
		{"46", "no error without the first", "16-24+ @60s", "waits, 0 expired"},
		{"46", "no error about an overlap", "0-16+ 8-24+ @60s 0-8+ 8-16",
			"waits, fragments overlap -1, 0 expired, waits, whole 16"},
	} {
		for _, f := range c.families {
			t.Run(fmt.Sprintf("v%c/%s", f, c.name), func(t *testing.T) {
				account(t)
				tb, s := New(Config{}), new(teller)
				if got := play(t, tb, s, c.script, f == '6'); got != c.want {
					t.Errorf("%s\n got %s\nwant %s", c.script, got, c.want)
				}
				tb.Flush(0, s)
				if u := tb.Usage(); u != (Usage{}) {
					t.Errorf("after Flush in use: %+v", u)
				}
			})
		}
	}
}

// A datagram in too many fragments is given up.
func TestMany(t *testing.T) {
	account(t)
	tb, s := New(Config{}), new(teller)
	for i := range FragmentsMax {
		if o := tb.Add(0, step(fmt.Sprintf("%d-%d+", 16*i, 16*i+8), false), nil, s); o != (Outcome{}) {
			t.Fatalf("fragment %d: %+v", i, o)
		}
	}
	if got, want := play(t, tb, s, "8-16+ 24-32+", false), "fragments too many -256, of abandoned datagram"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The first fragment is lent with what it tells of its upper layer, all are
// given up, and the table tells when.
func TestTimeout(t *testing.T) {
	account(t)
	tb, s := New(Config{Timeout4: 2 * time.Second, Timeout6: 3 * time.Second}), new(teller)
	if d := tb.Deadline(); d != never {
		t.Errorf("empty: deadline %v", d)
	}
	add := func(now time.Duration, word string, v6 bool) {
		if o := tb.Add(now, step(word, v6), nil, s); o != (Outcome{}) {
			t.Errorf("%s: %+v", word, o)
		}
	}
	add(0, "0-16+/dst/hop", true)
	add(time.Second, "0-16+", false)
	add(2*time.Second, "24-32+", false)
	for _, want := range []struct {
		at      time.Duration
		expired string
		lost    int
	}{
		{3 * time.Second, "[10.0.0.1 UDP 16 2001:db8:0:1::1 UDP 16]", 3},
	} {
		if d := tb.Deadline(); d != want.at {
			t.Errorf("deadline %v, want %v", d, want.at)
		}
		tb.Timeout(want.at-1, s)
		if len(s.expired) > 0 {
			t.Errorf("too early: %v", s.expired)
		}
		tb.Timeout(want.at, s)
		if got := fmt.Sprint(s.expired); got != want.expired || s.counts[packet.ReasonFragTimeout] != want.lost {
			t.Errorf("got %s and %d lost, want %s and %d", got, s.counts[packet.ReasonFragTimeout], want.expired, want.lost)
		}
	}
	if d := tb.Deadline(); d != never {
		t.Errorf("empty again: deadline %v", d)
	}
}

// Flush takes the datagrams of one adapter only.
func TestFlush(t *testing.T) {
	account(t)
	tb, s := New(Config{}), new(teller)
	play(t, tb, s, "0-8+/id=1/on=2 8-16+/id=1/on=3 0-8+/id=2/on=2 0-8+/id=3/on=3", false)
	tb.Flush(3, s)
	if n := s.counts[packet.ReasonFragFlushed]; n != 3 {
		t.Errorf("%d flushed, want 3", n)
	}
	if got, want := play(t, tb, s, "8-16/id=2", false), "whole 16"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Who asks gets the fragments themselves beside the whole.
func TestKeep(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		account(t)
		tb, s := New(Config{}), new(teller)
		var keep packet.List
		var sent [][]byte
		for _, word := range []string{"16-24", "0-8+/hop", "8-16+"} {
			p := step(word, v6)
			sent = append(sent, p.Bytes())
			o := tb.Add(0, p, &keep, s)
			if o.Whole == nil {
				continue
			}
			checkWhole(t, o.Whole)
			if b := o.Whole.Bytes(); string(b[len(b)-24:]) != string(payload(24)) {
				t.Errorf("the whole is % x", b)
			}
			packet.Free(o.Whole)
		}
		i := 0
		for p := keep.First(); p != nil; p = p.Next() {
			if want := sent[[]int{1, 2, 0}[i]]; string(p.Bytes()) != string(want) {
				t.Errorf("fragment %d is % x, want % x", i, p.Bytes(), want)
			}
			i++
		}
		if i != 3 {
			t.Errorf("%d fragments kept, want 3", i)
		}
		keep.Free()
	}
}

// Where a Fragment header is taken out, the link header moves with the rest: who
// answers the packet looks at it.
func TestLinkHeader(t *testing.T) {
	for _, pulled := range []bool{false, true} {
		account(t)
		tb, s := New(Config{}), new(teller)
		var eth []byte
		for _, word := range []string{"0-16+/hop", "16-24"} {
			q := step(word, true)
			p := layout{linear: -1, link: true}.receive(q.Bytes())
			packet.Free(q)
			eth = append([]byte(nil), p.From(p.Link)[:wire.EthernetLen]...)
			if !pulled {
				p.Push(wire.EthernetLen)
			}
			o := tb.Add(0, p, nil, s)
			if o.Whole == nil {
				continue
			}
			w := o.Whole
			if got := w.From(w.Link)[:wire.EthernetLen]; string(got) != string(eth) || w.Net-w.Link != wire.EthernetLen {
				t.Errorf("pulled %v: link header % x at %d, the IP header at %d", pulled, got, w.Link, w.Net)
			}
			if !pulled {
				w.Pull(wire.EthernetLen)
			}
			checkWhole(t, w)
			packet.Free(w)
		}
	}
}
