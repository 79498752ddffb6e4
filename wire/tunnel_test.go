package wire

import "testing"

func TestGRE(t *testing.T) {
	b := raw(`
		30 00               # key and sequence number
		08 00               # IPv4
		00 00 00 2a         # key 42
		00 00 00 07         # sequence number 7
		45`)
	h := GRE(b)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Valid of 11 bytes", h[:11].Valid(), false)
	eq(t, "Type", h.Type(), EtherTypeIPv4)
	eq(t, "HeaderLen", h.HeaderLen(), 12)
	eq(t, "Key", h.Key(), 42)
	eq(t, "Seq", h.Seq(), 7)
	eq(t, "HasChecksum", h.HasChecksum(), false)
	eqBytes(t, "Payload", h.Payload(), []byte{0x45})
	eq(t, "String", h.String(), "GREv0, key=0x2a, seq 7")
	f := GREFields{Type: EtherTypeIPv4, HasKey: true, Key: 42, HasSeq: true, Seq: 7}
	got := append(make([]byte, f.HeaderLen()), 0x45)
	PutGRE(got, &f)
	eqBytes(t, "PutGRE", got, b)

	c := GRE(raw("b0 00 08 00 12 34 00 00 00 00 00 2a 00 00 00 07"))
	eq(t, "with checksum", c.HeaderLen(), GRELenMax)
	eq(t, "with checksum: Key", c.Key(), 42)
	eq(t, "with checksum: Seq", c.Seq(), 7)
	eq(t, "plain", GRE(raw("00 00 86 dd")).Key()+GRE(raw("00 00 86 dd")).Seq(), 0)
	eq(t, "version 1", GRE(raw("00 01 88 0b")).Valid(), false)
	eq(t, "with routing", GRE(raw("40 00 08 00 00 00 00 00")).Valid(), false)
}

func TestVXLAN(t *testing.T) {
	b := raw(`
		08 00 00 00         # the identifier is valid
		12 34 56 00         # VNI 0x123456`)
	h := VXLAN(b)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "VNI", h.VNI(), 0x123456)
	eq(t, "String", h.String(), "VXLAN, vni 1193046")
	eq(t, "without identifier", VXLAN(make([]byte, 8)).Valid(), false)
	got := make([]byte, VXLANLen)
	PutVXLAN(got, 0x123456)
	eqBytes(t, "PutVXLAN", got, b)
}

func TestESP(t *testing.T) {
	b := raw(`
		00 00 01 00         # SPI 256
		00 00 00 02         # sequence number 2
		ff`)
	h := ESP(b)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "SPI", h.SPI(), 256)
	eq(t, "Seq", h.Seq(), 2)
	eq(t, "String", h.String(), "ESP(spi=0x00000100,seq=0x2)")
	got := append(make([]byte, ESPLen), 0xff)
	PutESP(got, 256, 2)
	eqBytes(t, "PutESP", got, b)
}

func FuzzGRERoundTrip(f *testing.F) {
	f.Add(raw("30 00 08 00 00 00 00 2a 00 00 00 07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := GRE(b)
		if !h.Valid() || h.HasChecksum() {
			return
		}
		fields := GREFields{h.Type(), h.HasKey(), h.Key(), h.HasSeq(), h.Seq()}
		got := make(GRE, fields.HeaderLen())
		PutGRE(got, &fields)
		eq(t, "fields", GREFields{got.Type(), got.HasKey(), got.Key(), got.HasSeq(), got.Seq()}, fields)
	})
}
