package run

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/towpath/towpath/host"
)

const (
	dnsPort = 53
	dnsTTL  = 5 // seconds; a lab's names are short-lived
)

// resolve answers a question (RFC 1035) for a name that the host knows; nil
// leaves it to the network. With always, no other names exist.
func resolve(h *host.Host, question []byte, always bool) []byte {
	var p dnsmessage.Parser
	hdr, err := p.Start(question)
	if err != nil || hdr.Response || hdr.OpCode != 0 {
		return nil
	}
	q, err := p.Question()
	if err != nil || q.Class != dnsmessage.ClassINET {
		return nil
	}
	addrs, err := h.LookupNetIP(strings.TrimSuffix(q.Name.String(), "."))
	if err != nil && !always {
		return nil
	}
	hdr = dnsmessage.Header{ID: hdr.ID, Response: true, Authoritative: true, RecursionDesired: hdr.RecursionDesired, RecursionAvailable: true}
	if err != nil {
		hdr.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, hdr)
	b.EnableCompression()
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	for _, a := range addrs {
		if err := answer(&b, q, a); err != nil {
			return nil
		}
	}
	msg, err := b.Finish()
	if err != nil {
		return nil
	}
	return msg
}

// answer adds an address, if it is of the type that was asked for.
func answer(b *dnsmessage.Builder, q dnsmessage.Question, a netip.Addr) error {
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: dnsTTL}
	switch {
	case q.Type == dnsmessage.TypeA && a.Is4():
		return b.AResource(h, dnsmessage.AResource{A: a.As4()})
	case q.Type == dnsmessage.TypeAAAA && a.Is6():
		return b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()})
	}
	return nil
}
