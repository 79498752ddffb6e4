package tcp

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Signatures (RFC 2385): every segment of a connection carries the digest of
// itself and of a key that both ends know, and segments without the right one
// are as if they had not come. As on Linux such a connection has no timestamps
// if it was opened actively, or if it has selective acknowledgments, because
// the options have no room for all three; it has no super-segments, and no Fast
// Open.

// A Signature is the key that the segments between two addresses are signed
// with. It does not change once it is in use.
type Signature struct {
	Local, Remote netip.Addr
	Key           []byte
}

const signatureLen = 20 // the option with its padding, which is always the first

// noDigest is the place of a digest.
var noDigest = make([]byte, md5.Size)

// signature is what the connection's segments are signed with; nil: they are
// not.
func (c *Conn) signature() *Signature {
	if c.rare == nil {
		return nil
	}
	return c.rare.sign
}

// SetSignature has segments signed from now on, and expected to be; nil ends
// that (Linux: TCP_MD5SIG).
func (c *Conn) SetSignature(g *Signature) {
	if g == nil && c.signature() == nil {
		return
	}
	c.extra().sign = g
	c.resize()
}

// Check judges the signature of a segment that has come: that it has the right
// one, or, for a nil g, that it has none. p.Transport and p.Data are set, the
// header is valid and linear.
func (g *Signature) Check(p *packet.Packet) packet.Reason {
	var o wire.TCPOptions
	o.Parse(wire.TCP(p.From(p.Transport)).Options()) // what is malformed is found elsewhere
	return g.check(p, o.MD5)
}

func (g *Signature) check(p *packet.Packet, digest []byte) packet.Reason {
	switch {
	case g == nil && digest == nil:
		return packet.NotDropped
	case g == nil:
		return packet.ReasonTCPMD5Unexpected
	case digest == nil:
		return packet.ReasonTCPMD5Missing
	}
	if sum := g.sum(p, p.Transport, g.Remote, g.Local); subtle.ConstantTimeCompare(digest, sum[:]) == 0 {
		return packet.ReasonTCPMD5Wrong
	}
	return packet.NotDropped
}

// Push writes a header with nothing but a signature in front of p's payload.
func (g *Signature) Push(p *packet.Packet, f *wire.TCPFields) {
	o := wire.TCPOptions{MD5: noDigest}
	b := p.Push(wire.TCPLen + signatureLen)
	wire.PutTCP(b, f, signatureLen)
	o.Put(b[wire.TCPLen:])
	g.sign(p)
}

// sign fills in the digest of a segment that p begins with.
func (g *Signature) sign(p *packet.Packet) {
	const at = wire.TCPLen + signatureLen - md5.Size
	sum := g.sum(p, p.Start(), g.Local, g.Remote)
	copy(p.Head()[at:], sum[:])
}

// sum is the digest of the segment at a byte of p, by RFC 2385 §2.0: of the
// pseudo-header, the header without its options as if its checksum were zero,
// the data, and the key.
func (g *Signature) sum(p *packet.Packet, at uint16, from, to netip.Addr) (sum [md5.Size]byte) {
	h := md5.New()
	sumPseudo(h, from, to, p.LenFrom(at))
	head := wire.TCP(p.From(at))
	fixed := wire.TCP(append([]byte(nil), head[:wire.TCPLen]...))
	fixed.SetChecksum(0)
	h.Write(fixed)
	h.Write(head[head.HeaderLen():])
	for _, f := range p.Frags() {
		h.Write(f.Bytes())
	}
	h.Write(g.Key)
	h.Sum(sum[:0])
	return sum
}

// sumPseudo is the pseudo-header of a segment of n bytes; IPv6's is that of RFC
// 8200 §8.1.
func sumPseudo(h hash.Hash, from, to netip.Addr, n int) {
	b := append(from.AsSlice(), to.AsSlice()...)
	if from.Is6() {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, 0, 0, 0, byte(wire.ProtoTCP))
	} else {
		b = append(b, 0, byte(wire.ProtoTCP))
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	h.Write(b)
}
