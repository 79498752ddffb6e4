package wire

import (
	"strings"
	"testing"
)

func TestMAC(t *testing.T) {
	m := MAC{0x02, 0, 0, 0, 0xab, 0x01}
	eq(t, "String", m.String(), "02:00:00:00:ab:01")
	eq(t, "IsMulticast", m.IsMulticast(), false)
	eq(t, "IsLocal", m.IsLocal(), true)
	eq(t, "IsZero", m.IsZero(), false)
	eq(t, "zero", MAC{}.IsZero(), true)
	eq(t, "Broadcast.IsBroadcast", Broadcast.IsBroadcast(), true)
	eq(t, "Broadcast.IsMulticast", Broadcast.IsMulticast(), true)
	text, err := m.MarshalText()
	var back MAC
	if err != nil || back.UnmarshalText(text) != nil || back != m {
		t.Errorf("text %q, %v reads as %v", text, err, back)
	}
}

func TestParseMAC(t *testing.T) {
	want := MAC{0x02, 0x00, 0x5e, 0xab, 0xcd, 0xef}
	for _, s := range []string{"02:00:5e:ab:cd:ef", "02-00-5E-AB-CD-EF", "0200.5eab.cdef"} {
		if got, err := ParseMAC(s); err != nil || got != want {
			t.Errorf("ParseMAC(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "02:00:5e:ab:cd", "02:00:5e:ab:cd:e", "02:00:5e:ab:cd:eg", "02:00-5e:ab:cd:ef",
		"02.00.5e.ab.cd.ef", "0200:5eab:cdef", "0200.5eabcdef.", "02005eabcdef", "02:00:5e:ab:cd:ef:01",
		strings.Repeat("é", 60),
	} {
		if got, err := ParseMAC(s); err == nil || got != (MAC{}) {
			t.Errorf("ParseMAC(%q) = %v, want an error", s, got)
		}
	}
	_, err := ParseMAC("nonsense")
	eq(t, "error", err.Error(),
		`MAC address "nonsense": want six octets in hexadecimal, such as "02:00:00:00:00:01"`)
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:00:5e:ab:cd:ef")
	f.Add("0200.5eab.cdef")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		if back, err := ParseMAC(m.String()); err != nil || back != m {
			t.Fatalf("%q reads as %v, which reads as %v, %v", s, m, back, err)
		}
	})
}

func TestMulticastMAC(t *testing.T) {
	for a, want := range map[string]string{
		"224.0.0.251":        "01:00:5e:00:00:fb",
		"239.255.255.250":    "01:00:5e:7f:ff:fa",
		"::ffff:224.0.0.1":   "01:00:5e:00:00:01",
		"ff02::1:ff12:3456":  "33:33:ff:12:34:56",
		"ff02::1":            "33:33:00:00:00:01",
		"ff02::fb%interface": "33:33:00:00:00:fb",
	} {
		eq(t, a, MulticastMAC(ip(a)).String(), want)
	}
}
