package conntrack

import (
	"encoding/binary"
	"time"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/packet"
)

// A Reading is what the ct expressions of rules read of a packet: put it into
// classify.Input.Conn. A lane has one.
type Reading struct {
	Table  *Table
	Packet *packet.Packet
	Now    time.Duration
}

// stateBits is a packet's state in nf_tables' words.
func stateBits(s packet.TrackState) classify.CtStateBits {
	switch s {
	case packet.TrackNew:
		return classify.CtNew
	case packet.TrackEstablished:
		return classify.CtEstablished
	case packet.TrackRelated:
		return classify.CtRelated
	case packet.TrackUntracked:
		return classify.CtUntracked
	}
	return classify.CtInvalid
}

// LoadCt implements [classify.Conn].
func (r *Reading) LoadCt(key classify.CtKey, inReply bool, dst []byte) bool {
	p := r.Packet
	if key == classify.CtState {
		binary.BigEndian.PutUint32(dst, uint32(stateBits(p.Track.State)))
		return true
	}
	if p.Track.Conn == nil {
		return false
	}
	t := r.Table
	t.mu.Lock()
	defer t.mu.Unlock()
	e, dir := t.of(p)
	if e == nil {
		return false
	}
	n := &e.nodes[original]
	if inReply {
		n = &e.nodes[reply]
	}
	switch key {
	case classify.CtDirection:
		dst[0] = byte(dir)
	case classify.CtStatus:
		binary.BigEndian.PutUint32(dst, uint32(e.status))
	case classify.CtMark:
		binary.BigEndian.PutUint32(dst, e.mark)
	case classify.CtExpiration:
		left := max(e.expires-r.Now, 0) / time.Millisecond
		if e.status&Confirmed == 0 {
			left = 0 // its time has not begun
		}
		binary.BigEndian.PutUint32(dst, uint32(min(left, 1<<32-1)))
	case classify.CtHelper:
		h := e.helper()
		if h == nil {
			return false
		}
		clear(dst[:16])
		copy(dst[:16], h.name)
	case classify.CtL3Proto:
		dst[0] = classify.NFProtoIPv6
		if n.key.is4() {
			dst[0] = classify.NFProtoIPv4
		}
	case classify.CtProtocol:
		dst[0] = byte(n.key.proto())
	case classify.CtSrc:
		return copyAddr(dst, n.key[keySrc:keyDst], n.key.is4())
	case classify.CtDst:
		return copyAddr(dst, n.key[keyDst:keySrcPort], n.key.is4())
	case classify.CtProtoSrc:
		copy(dst, n.key[keySrcPort:keyDstPort])
	case classify.CtProtoDst:
		copy(dst, n.key[keyDstPort:keyProto])
	case classify.CtZone:
		copy(dst, n.key[keyZone:])
	case classify.CtID:
		binary.BigEndian.PutUint32(dst, e.id)
	case classify.CtLabels:
		if e.ext == nil {
			clear(dst[:16])
		} else {
			copy(dst, e.ext.labels[:])
		}
	case classify.CtBytes:
		binary.BigEndian.PutUint64(dst, e.bytes[n.dir])
	case classify.CtPackets:
		binary.BigEndian.PutUint64(dst, e.packets[n.dir])
	case classify.CtBytesAll:
		binary.BigEndian.PutUint64(dst, e.bytes[original]+e.bytes[reply])
	case classify.CtPacketsAll:
		binary.BigEndian.PutUint64(dst, e.packets[original]+e.packets[reply])
	default:
		return false
	}
	return true
}

// copyAddr copies an address of a key, of as many bytes as it has.
func copyAddr(dst, addr []byte, is4 bool) bool {
	if is4 {
		addr = addr[12:]
	}
	return len(dst) >= len(addr) && copy(dst, addr) == len(addr)
}
