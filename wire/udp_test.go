package wire

import "testing"

func TestUDP(t *testing.T) {
	h := UDP(udp6[IPv6Len:])
	eq(t, "Valid", h.Valid(len(h)), true)
	eq(t, "Valid in a larger packet", h.Valid(100), true)
	eq(t, "Valid in a smaller packet", h.Valid(12), false)
	eq(t, "Valid of 7 bytes", h[:7].Valid(13), false)
	eq(t, "SrcPort", h.SrcPort(), 7)
	eq(t, "DstPort", h.DstPort(), 54321)
	eq(t, "Len", h.Len(), 13)
	eq(t, "Checksum", h.Checksum(), 0x8c54)
	eq(t, "Payload", string(h.Payload()), "hello")
	eq(t, "String", h.String(), "7 > 54321: UDP, length 5")
	sum := Sum(h, PseudoSum(IPv6(udp6).Src(), IPv6(udp6).Dst(), ProtoUDP, h.Len()))
	eq(t, "sum with checksum", Fold(sum), 0xffff)

	for _, n := range []int{0, 7} {
		bad := append(UDP(nil), h...)
		bad.SetLen(n)
		eq(t, "Valid with a length below 8", bad.Valid(13), false)
		eq(t, "String", bad.String(), "[invalid udp]")
	}

	b := make([]byte, UDPLen)
	PutUDP(b, 7, 54321, 13, 0x8c54)
	eqBytes(t, "PutUDP", b, h[:UDPLen])
	s := make(UDP, UDPLen)
	s.SetSrcPort(7)
	s.SetDstPort(54321)
	s.SetLen(13)
	s.SetChecksum(0x8c54)
	eqBytes(t, "set field by field", s, h[:UDPLen])
}

func TestUDPChecksum(t *testing.T) {
	eq(t, "of 0xffff", UDPChecksum(0xffff), 0xffff)
	eq(t, "of 0", UDPChecksum(0), 0xffff)
	eq(t, "of 1", UDPChecksum(1), 0xfffe)
}

func FuzzUDPRoundTrip(f *testing.F) {
	f.Add(udp6[IPv6Len:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h := UDP(b)
		if !h.Valid(sizeMax) {
			return
		}
		got := make([]byte, UDPLen)
		PutUDP(got, h.SrcPort(), h.DstPort(), h.Len(), h.Checksum())
		eqBytes(t, "UDP", got, b[:UDPLen])
	})
}
