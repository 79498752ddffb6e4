package procnet

import (
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
)

// A counter is a name and a value.
type counter struct {
	name string
	v    uint64
}

// group writes counters of a protocol in two lines: names and values.
func (w *writer) group(name string, list []counter) {
	w.printf("%s:", name)
	for _, c := range list {
		w.printf(" %s", c.name)
	}
	w.printf("\n%s:", name)
	for _, c := range list {
		w.printf(" %d", int64(c.v))
	}
	w.printf("\n")
}

// numbers are what the groups are made of.
type numbers struct {
	host.Stats
	drops packet.Counters
	ttl   uint64
	fwd   uint64 // 1: forwards, 2: does not (RFC 4293, ipForwarding)
}

func (w *writer) numbers() (n numbers) {
	n.Stats, n.drops = w.host.Stats(), w.host.Drops()
	set := w.host.Settings()
	n.ttl, n.fwd = uint64(set.TTL), 2
	if set.Forward {
		n.fwd = 1
	}
	return n
}

func (n *numbers) headerErrors() uint64 {
	return n.drops[packet.ReasonIPVersion] + n.drops[packet.ReasonIPMalformed] + n.drops[packet.ReasonIPChecksum] + n.drops[packet.ReasonIPOptions] + n.drops[packet.ReasonTTL]
}

func (n *numbers) addrErrors() uint64 {
	return n.drops[packet.ReasonNotForUs] + n.drops[packet.ReasonIPSource] + n.drops[packet.ReasonSourceOurs] + n.drops[packet.ReasonLoopback]
}

func (n *numbers) noRoutes() uint64 {
	return n.drops[packet.ReasonNoRoute] + n.drops[packet.ReasonRouteUnreachable] + n.drops[packet.ReasonRouteProhibit]
}

// tcpEstab are the connections that are open now.
func (w *writer) tcpEstab() (n uint64) {
	for _, s := range w.host.Sockets() {
		if s.TCP.State == tcp.StateEstablished || s.TCP.State == tcp.StateCloseWait {
			n++
		}
	}
	return n
}

func (w *writer) snmp() {
	n := w.numbers()
	w.group("Ip", []counter{
		{"Forwarding", n.fwd}, {"DefaultTTL", n.ttl}, {"InReceives", n.IPv4.Received}, {"InHdrErrors", n.headerErrors()},
		{"InAddrErrors", n.addrErrors()}, {"ForwDatagrams", n.Forwarded}, {"InUnknownProtos", n.drops[packet.ReasonProtocol]},
		{"InDiscards", 0}, {"InDelivers", n.IPv4.Delivered}, {"OutRequests", n.IPv4.Sent}, {"OutDiscards", 0}, {"OutNoRoutes", n.noRoutes()},
		{"ReasmTimeout", n.drops[packet.ReasonFragTimeout]}, {"ReasmReqds", 0}, {"ReasmOKs", 0}, {"ReasmFails", n.drops[packet.ReasonFragTimeout] + n.drops[packet.ReasonFragEvicted]},
		{"FragOKs", 0}, {"FragFails", n.drops[packet.ReasonTooBig]}, {"FragCreates", 0},
	})
	w.group("Icmp", []counter{
		{"InMsgs", n.IPv4.ICMPIn}, {"InErrors", n.drops[packet.ReasonICMPMalformed]}, {"InCsumErrors", n.drops[packet.ReasonICMPChecksum]},
		{"OutMsgs", n.IPv4.ICMPOut}, {"OutErrors", 0},
	})
	w.group("Tcp", []counter{
		{"RtoAlgorithm", 1}, {"RtoMin", 200}, {"RtoMax", 120000}, {"MaxConn", ^uint64(0)},
		{"ActiveOpens", n.Established - n.TCPAccepted}, {"PassiveOpens", n.TCPAccepted}, {"AttemptFails", 0}, {"EstabResets", 0},
		{"CurrEstab", w.tcpEstab()}, {"InSegs", n.TCPReceived}, {"OutSegs", n.TCPSent}, {"RetransSegs", n.TCPRetransmitted},
		{"InErrs", n.drops[packet.ReasonTCPMalformed] + n.drops[packet.ReasonTCPChecksum]}, {"OutRsts", 0}, {"InCsumErrors", n.drops[packet.ReasonTCPChecksum]},
	})
	bad := n.drops[packet.ReasonUDPMalformed] + n.drops[packet.ReasonUDPChecksum]
	full := n.drops[packet.ReasonUDPQueueFull]
	w.group("Udp", []counter{
		{"InDatagrams", n.UDPReceived}, {"NoPorts", n.drops[packet.ReasonUDPNoSocket]}, {"InErrors", bad + full}, {"OutDatagrams", n.UDPSent},
		{"RcvbufErrors", full}, {"SndbufErrors", 0}, {"InCsumErrors", n.drops[packet.ReasonUDPChecksum]}, {"IgnoredMulti", 0}, {"MemErrors", n.drops[packet.ReasonUDPMemory]},
	})
}

func (w *writer) snmp6() {
	n := w.numbers()
	for _, c := range []counter{
		{"Ip6InReceives", n.IPv6.Received}, {"Ip6InDelivers", n.IPv6.Delivered}, {"Ip6OutRequests", n.IPv6.Sent},
		{"Icmp6InMsgs", n.IPv6.ICMPIn}, {"Icmp6OutMsgs", n.IPv6.ICMPOut},
	} {
		w.printf("%-32s\t%d\n", c.name, c.v)
	}
}

func (w *writer) netstat() {
	n := w.numbers()
	w.group("TcpExt", []counter{
		{"SyncookiesSent", n.SynCookiesSent}, {"SyncookiesRecv", n.SynCookiesReceived}, {"ListenOverflows", n.SynOverflow}, {"ListenDrops", n.SynOverflow},
		{"TCPTimeWaitOverflow", n.TimeWaitOverflow}, {"TCPFastOpenActive", n.FastOpenSent}, {"TCPFastOpenPassive", n.FastOpenTaken},
		{"TCPFastOpenListenOverflow", n.FastOpenOverflow}, {"PruneCalled", n.drops[packet.ReasonTCPPruned]},
	})
	w.group("IpExt", []counter{{"InNoRoutes", n.noRoutes()}})
}
