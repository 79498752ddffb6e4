package wire

import "testing"

var arpRequest = raw(`
	00 01               # hardware: Ethernet
	08 00               # protocol: IPv4
	06 04               # sizes of addresses
	00 01               # operation: request
	02 00 00 00 00 01   # sender hardware address
	c0 00 02 01         # sender 192.0.2.1
	00 00 00 00 00 00   # target hardware address: unknown
	c0 00 02 02         # target 192.0.2.2`)

var arpReply = raw(`
	00 01 08 00 06 04
	00 02               # operation: reply
	02 00 00 00 00 02   # sender hardware address
	c0 00 02 02         # sender 192.0.2.2
	02 00 00 00 00 01   # target hardware address
	c0 00 02 01         # target 192.0.2.1`)

func TestARP(t *testing.T) {
	h := ARP(arpRequest)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Op", h.Op(), ARPRequest)
	eq(t, "SenderMAC", h.SenderMAC(), MAC{2, 0, 0, 0, 0, 1})
	eq(t, "SenderIP", h.SenderIP(), ip("192.0.2.1"))
	eq(t, "TargetMAC", h.TargetMAC(), MAC{})
	eq(t, "TargetIP", h.TargetIP(), ip("192.0.2.2"))
	eq(t, "request", h.String(), "Request who-has 192.0.2.2 tell 192.0.2.1")
	eq(t, "reply", ARP(arpReply).String(), "Reply 192.0.2.2 is-at 02:00:00:00:00:02")

	eq(t, "Valid of 27 bytes", h[:27].Valid(), false)
	for i := range 6 {
		bad := append(ARP(nil), arpRequest...)
		bad[i] ^= 0x40
		eq(t, "Valid with another kind of address", bad.Valid(), false)
		eq(t, "String", bad.String(), "[invalid arp]")
	}
}

func FuzzARPRoundTrip(f *testing.F) {
	f.Add(arpRequest)
	f.Add(arpReply)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := ARP(b)
		if !h.Valid() {
			return
		}
		got := make([]byte, ARPLen)
		PutARP(got, h.Op(), h.SenderMAC(), h.SenderIP(), h.TargetMAC(), h.TargetIP())
		eqBytes(t, "ARP", got, b[:ARPLen])
	})
}
