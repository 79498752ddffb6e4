// Package fwtest tests firewall rules in go test, without root and without a
// network:
//
//	func TestGateway(t *testing.T) {
//		fwtest.Expect(t, "gateway.nft", "tcp 10.1.0.2:4000 > 203.0.113.2:80 syn", "accept")
//		fwtest.Expect(t, "gateway.nft", "tcp 203.0.113.2:80 > 10.1.0.1:22 syn in eth1", "drop")
//	}
//
// A packet is written as [nft.ParseProbe] reads it. A test that fails prints
// what each rule said of the packet.
package fwtest

import (
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/packet"
)

// Expect checks that rules, a file or a text of more than one line, give the
// packet a verdict: accept, drop, reject or queue.
func Expect(t testing.TB, rules, pkt, verdict string) {
	t.Helper()
	e := Explain(t, rules, pkt)
	if e != nil && e.Verdict != verdict {
		var b strings.Builder
		e.Print(&b)
		t.Errorf("want %s\n%s", verdict, b.String())
	}
}

// Explain is what rules say of a packet; nil, and the test has failed, if one
// of the two cannot be read.
func Explain(t testing.TB, rules, pkt string) *nft.Explanation {
	t.Helper()
	file, src := "rules.nft", rules
	if !strings.Contains(rules, "\n") {
		b, err := os.ReadFile(rules)
		if err != nil {
			t.Error(err)
			return nil
		}
		file, src = rules, string(b)
	}
	rs, err := nft.Read(file, src)
	if err != nil {
		t.Error(err)
		return nil
	}
	x, err := nft.ParseProbe(pkt)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer packet.Free(x.Packet)
	e, err := nft.Explain(rs, x, nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	return e
}
