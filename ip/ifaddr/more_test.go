package ifaddr

import (
	"slices"
	"testing"
)

func FuzzDomainNames(f *testing.F) {
	for _, s := range []string{"", "\x03lab\x00\x07example\x03net\x00\x00\x00", "\x03la", "\x40", "\x01.\x00", "\x01a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range domainNames(b) {
			if name == "" || len(name) > 253 {
				t.Errorf("name %q", name)
			}
		}
	})
}

func TestDomainNames(t *testing.T) {
	for _, c := range []struct {
		bytes string
		want  []string
	}{
		{"\x03lab\x00\x07example\x03net\x00\x00\x00", []string{"lab", "example.net"}},
		{"\x03lab\x00\x03ne", []string{"lab"}},
		{"\x03l b\x00", nil},
		{"\xc0\x04", nil}, // no compression
		{"\x00\x00", nil},
	} {
		if got := domainNames([]byte(c.bytes)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.bytes, got, c.want)
		}
	}
}
