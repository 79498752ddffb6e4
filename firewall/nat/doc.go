// Package nat translates addresses and ports of flows: netfilter's SNAT, DNAT,
// masquerading, redirection and network mapping, for IPv4 and IPv6, and the
// stateless prefix translation of RFC 6296.
//
//	n := nat.New(table)
//	err := n.Attach(h.AddJudge)
//	n.AddChain(hook.Postrouting, hook.PriorityNATSrc, chain)
//
// where chain is a judge that walks rules, whose statements [NAT.Translate]
// makes:
//
//	n.Translate(conntrack.Source, nat.Range{Masquerade: true})
//
// # Theory of operation
//
// What is translated is a flow, once: the first packet meets the chains, and
// the translation that a rule chooses is the difference between the flow's two
// keys in connection tracking. Every later packet, of either direction, is made
// to look as the reverse of the other direction's key says.
//
//	Prerouting, Output (-100)   the destination
//	Input, Postrouting (100)    the source
//
// A flow about which no rule says anything is translated too if its tuple is
// taken: its source port changes (a null binding).
//
// Ports are searched in netfilter's order: the packet's own, then one that the
// source has for other destinations already, then at most triesMax from a random
// one on, and fewer and fewer from others. No search looks at more than twice
// triesMax places of the hash table.
//
// Packets are rewritten in place: addresses and ports, and the difference in
// the checksums (RFC 1624), whether they are whole or partial. Payload is not
// touched, so super-segments stay what they are. Of an ICMP error the packet
// that it quotes is rewritten too (RFC 5508 §4).
//
// # Limits and omissions
//
// Of SCTP and DCCP only addresses are translated. Flows that are masqueraded do
// not end when their adapter's address goes; delete them then. Timeouts are
// connection tracking's; RFC 4787 REQ-5 asks for UDP's to be two minutes.
//
// RFC 2663, 3022, 4787, 5382, 5508, 6296.
package nat
