package wire

import "testing"

var taggedFrame = raw(`
	01 00 5e 00 00 fb   # destination: 224.0.0.251
	02 00 00 00 00 01   # source
	88 a8               # type: 802.1ad
	20 64               # priority 1, VLAN 100
	81 00               # type: 802.1Q
	f0 07               # priority 7, drop eligible, VLAN 7
	08 00               # type: IPv4
	45                  # payload`)

func TestEthernetAndVLAN(t *testing.T) {
	h := Ethernet(taggedFrame)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Valid of 13 bytes", h[:13].Valid(), false)
	eq(t, "Dst", h.Dst(), MAC{0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb})
	eq(t, "Src", h.Src(), MAC{0x02, 0, 0, 0, 0, 1})
	eq(t, "Type", h.Type(), EtherTypeQinQ)
	eq(t, "String", h.String(), "02:00:00:00:00:01 > 01:00:5e:00:00:fb, ethertype 802.1Q-QinQ (0x88a8)")

	outer := VLAN(h.Payload())
	eq(t, "outer.Valid", outer.Valid(), true)
	eq(t, "outer.PCP", outer.PCP(), 1)
	eq(t, "outer.DEI", outer.DEI(), false)
	eq(t, "outer.ID", outer.ID(), 100)
	eq(t, "outer.Type", outer.Type(), EtherTypeVLAN)

	inner := VLAN(outer.Payload())
	eq(t, "inner.PCP", inner.PCP(), 7)
	eq(t, "inner.DEI", inner.DEI(), true)
	eq(t, "inner.ID", inner.ID(), 7)
	eq(t, "inner.Type", inner.Type(), EtherTypeIPv4)
	eq(t, "inner.String", inner.String(), "vlan 7, p 7, DEI, ethertype IPv4 (0x0800)")
	eq(t, "inner.Valid of 3 bytes", inner[:3].Valid(), false)
	eq(t, "invalid", VLAN(nil).String()+Ethernet(nil).String(), "[invalid vlan][invalid ethernet]")

	b := make([]byte, EthernetLen+2*VLANLen+1)
	PutEthernet(b, h.Dst(), h.Src(), EtherTypeQinQ)
	PutVLAN(b[EthernetLen:], 1, false, 100, EtherTypeVLAN)
	PutVLAN(b[EthernetLen+VLANLen:], 7, true, 7, EtherTypeIPv4)
	b[len(b)-1] = 0x45
	eqBytes(t, "written", b, taggedFrame)

	built := new(Builder).Payload([]byte{0x45}).SetType(EtherTypeIPv4).
		PushVLAN(7, true, 7).PushVLAN(1, false, 100).SetType(EtherTypeQinQ).
		PushEthernet(h.Dst(), h.Src())
	eqBytes(t, "built", built.Bytes(), taggedFrame)
}

func TestEtherType(t *testing.T) {
	eq(t, "unknown", EtherType(0x88b5).String(), "0x88b5")
	eq(t, "IPv6", EtherTypeIPv6.String(), "IPv6")
	eq(t, "length", EtherType(1500).IsLength(), true)
	eq(t, "type", EtherTypeIPv4.IsLength(), false)
	eq(t, "VLAN", EtherTypeVLAN.IsVLAN() && EtherTypeQinQ.IsVLAN() && !EtherTypeARP.IsVLAN(), true)
}

func FuzzEthernetRoundTrip(f *testing.F) {
	f.Add(taggedFrame)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := Ethernet(b)
		if !h.Valid() {
			return
		}
		got := make([]byte, EthernetLen+VLANLen)
		PutEthernet(got, h.Dst(), h.Src(), h.Type())
		eqBytes(t, "Ethernet", got[:EthernetLen], b[:EthernetLen])
		v := VLAN(h.Payload())
		if !v.Valid() {
			return
		}
		PutVLAN(got, v.PCP(), v.DEI(), v.ID(), v.Type())
		eqBytes(t, "VLAN", got[:VLANLen], v[:VLANLen])
	})
}
