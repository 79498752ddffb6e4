package run

import (
	"context"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/towpath/towpath/host"
)

func question(name string, typ dnsmessage.Type) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func TestResolve(t *testing.T) {
	h := host.New(host.Config{})
	defer h.Close(context.Background())
	h.AddName("web", netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2"))
	for _, c := range []struct {
		name   string
		typ    dnsmessage.Type
		always bool
		want   int // answers; -1: none of ours
		rcode  dnsmessage.RCode
	}{
		{"web.", dnsmessage.TypeA, false, 1, 0},
		{"WEB.", dnsmessage.TypeAAAA, false, 1, 0},
		{"web.", dnsmessage.TypeMX, false, 0, 0},
		{"other.", dnsmessage.TypeA, false, -1, 0},
		{"other.", dnsmessage.TypeA, true, 0, dnsmessage.RCodeNameError},
	} {
		b := resolve(h, question(c.name, c.typ), c.always)
		if c.want < 0 {
			if b != nil {
				t.Errorf("%s %v: answered", c.name, c.typ)
			}
			continue
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Errorf("%s %v: %v", c.name, c.typ, err)
			continue
		}
		if m.ID != 77 || !m.Response || len(m.Answers) != c.want || m.RCode != c.rcode {
			t.Errorf("%s %v: %+v", c.name, c.typ, m)
		}
	}
}

func FuzzResolve(f *testing.F) {
	h := host.New(host.Config{})
	f.Cleanup(func() { h.Close(context.Background()) })
	h.AddName("web", netip.MustParseAddr("10.0.0.2"))
	f.Add(question("web.", dnsmessage.TypeA), true)
	f.Add(question("web.", dnsmessage.TypeAAAA), false)
	f.Add([]byte{1, 2, 3}, true)
	f.Fuzz(func(t *testing.T, b []byte, always bool) { resolve(h, b, always) })
}
