package host

import (
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// env is what judges may ask of their host. Its methods but Inject are called
// by judges, under the lane's lock.
type env lane

func (e *env) Adapter(index int32) *link.Adapter { return e.conf.adapter(index) }

func (e *env) Route(ip netip.Addr) (out *link.Adapter, next netip.Addr, ok bool) {
	var d dst
	if (*lane)(e).route(&d, ip, 0) != packet.NotDropped {
		return nil, netip.Addr{}, false
	}
	return d.out, d.next, true
}

func (e *env) Source(adapter int32, dst netip.Addr) (src netip.Addr, ok bool) {
	return e.conf.addrs.Source(adapter, dst, dst)
}

func (e *env) Socket(t packet.Tuple) bool {
	if t.Proto == wire.ProtoUDP {
		return e.ports.datagram(t.Dst, t.Src, t.DstPort, t.SrcPort, 0) != nil
	}
	return e.tcp.find(t.Dst, t.Src, t.DstPort, t.SrcPort) != nil || e.ports.listener(t.Dst, t.DstPort, 0, 0) != nil
}

// Inject lets a stolen packet go on behind the judge that stole it. It is
// called at any time but by a judge, and takes the lane's lock.
func (e *env) Inject(at hook.Point, after hook.PacketJudge, p *packet.Packet) {
	ln := (*lane)(e)
	ln.lock()
	defer ln.unlock(nil)
	js := ln.conf.hooks.Packet[at]
	for len(js) > 0 && js[0].Judge != after {
		js = js[1:]
	}
	if len(js) == 0 || ln.closed {
		ln.drop(p, packet.ReasonInjectGone)
		return
	}
	in := ln.conf.adapter(p.Ingress)
	if js = js[1:]; len(js) > 0 && !ln.judge(at, js, in, nil, p) {
		return
	}
	ln.resume(at, in, p)
}

// resume continues the walk of a packet behind a point.
func (ln *lane) resume(at hook.Point, in *link.Adapter, p *packet.Packet) {
	var d dst
	switch at {
	case hook.Forward, hook.Output, hook.Postrouting, hook.Egress:
		if r := ln.route(&d, p.Dst, 0); r != packet.NotDropped {
			ln.drop(p, r)
			return
		}
	default:
		if in == nil {
			ln.drop(p, packet.ReasonInjectAdapter)
			return
		}
	}
	switch at {
	case hook.Ingress:
		ln.frame(in, p)
	case hook.Prerouting:
		ln.direct(in, p)
	case hook.LocalRx:
		ln.reassembled(in, p)
	case hook.Input:
		ln.transportIn(in, p)
	case hook.Forward, hook.Output:
		ln.postroute(p, &d)
	case hook.Postrouting:
		ln.linkOut(p, &d)
	case hook.Egress:
		ln.enqueue(d.out, p)
	}
}

// judgeSocket asks the judges of a socket operation; EPERM means no.
func (ln *lane) judgeSocket(at hook.SocketPoint, proto wire.Proto, local, remote netip.AddrPort) syscall.Errno {
	js := ln.conf.hooks.Socket[at]
	if js == nil {
		return 0
	}
	ev := hook.SocketEvent{Point: at, Now: ln.now, Proto: proto, Local: local, Remote: remote, Env: (*env)(ln)}
	for i := range js {
		if js[i].Judge.JudgeSocket(&ev) != hook.Accept {
			return syscall.EPERM
		}
	}
	return 0
}
