package host

import (
	"bytes"
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// An MD5Key is the key that TCP segments to and from the peers of a prefix are
// signed with (RFC 2385; Linux: TCP_MD5SIG).
type MD5Key struct {
	Peers netip.Prefix
	Key   []byte
}

const (
	md5KeyMax  = 80  // bytes (Linux: TCP_MD5SIG_MAXKEYLEN)
	md5KeysMax = 256 // of a socket
)

// SetMD5Key has the segments between a stream socket and the peers of a prefix
// signed with a key, and others of theirs dropped; of several prefixes that a
// peer is in the longest counts. What a listener's keys are when a SYN comes
// holds for the connection, whose socket has that key alone; a connection's
// key may be changed too. An empty key takes the prefix's away.
//
// It fails with EINVAL if the prefix is not of the socket's family or the key
// is longer than 80 bytes, with ENOENT if there is no key to take away, with
// ENOMEM if there are 256.
func (s *Socket) SetMD5Key(peers netip.Prefix, key []byte) syscall.Errno {
	return s.hold(func(*lane) syscall.Errno {
		if !s.stream() {
			return syscall.ENOPROTOOPT
		}
		if !peers.IsValid() || !s.six && !peers.Addr().Is4() || len(key) > md5KeyMax {
			return syscall.EINVAL
		}
		if a := peers.Addr(); a.Is4In6() {
			if peers.Bits() < 96 {
				return syscall.EINVAL
			}
			peers = netip.PrefixFrom(a.Unmap(), peers.Bits()-96)
		}
		peers = peers.Masked()
		i := slices.IndexFunc(s.opt.MD5Keys, func(k MD5Key) bool { return k.Peers == peers })
		keys := slices.Clone(s.opt.MD5Keys) // others may be reading them
		switch {
		case len(key) == 0 && i < 0:
			return syscall.ENOENT
		case len(key) == 0:
			keys = slices.Delete(keys, i, i+1)
		case i >= 0:
			keys[i].Key = bytes.Clone(key)
		case len(keys) >= md5KeysMax:
			return syscall.ENOMEM
		default:
			keys = append(keys, MD5Key{peers, bytes.Clone(key)})
		}
		s.opt.MD5Keys = keys
		if c := s.conn; c != nil && !c.gone {
			f := &c.entry.Tuple
			c.conn.SetSignature(s.opt.signature(f.Src, f.Dst))
			c.touch(s.ln)
		}
		return 0
	})
}

// signature is what segments between two addresses are signed with; nil if
// there is no key for them.
func (o *sockOptions) signature(local, remote netip.Addr) *tcp.Signature {
	if o == nil {
		return nil
	}
	bits, best := -1, []byte(nil)
	for i := range o.MD5Keys {
		if k := &o.MD5Keys[i]; k.Peers.Bits() > bits && k.Peers.Contains(remote) {
			bits, best = k.Peers.Bits(), k.Key
		}
	}
	if best == nil {
		return nil
	}
	return &tcp.Signature{Local: local, Remote: remote, Key: best}
}

// onlyFor are the keys of a connection that a listener with these has
// accepted.
func (o *sockOptions) onlyFor(local, remote netip.Addr) []MD5Key {
	g := o.signature(local, remote)
	if g == nil {
		return nil
	}
	return []MD5Key{{netip.PrefixFrom(remote, remote.BitLen()), g.Key}}
}

// strayed judges the signature of a segment to a port where nobody listens, by
// the keys of the listener at the port that it comes from: both ends of what
// is signed often use the same (Linux: tcp_v4_send_reset). A segment that is
// signed and cannot be judged is not answered.
func (ln *lane) strayed(p *packet.Packet) (g *tcp.Signature, answer bool) {
	var none *tcp.Signature
	if none.Check(p) == packet.NotDropped {
		return nil, true
	}
	seg := wire.TCP(p.From(p.Transport))
	if l := ln.ports.listener(p.Dst, seg.SrcPort(), spread(p.Src, seg.SrcPort()), p.Ingress); l != nil {
		g = l.options().signature(p.Dst, p.Src)
	}
	return g, g != nil && g.Check(p) == packet.NotDropped
}
