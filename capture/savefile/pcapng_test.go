package savefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/wire"
)

// writeNG writes a file of two interfaces with three packets and statistics.
func writeNG(t testing.TB, order binary.ByteOrder) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewPcapngWriter(&b, Section{OS: "test", Application: "towpath", Order: order})
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range []Interface{{Name: "alice:eth0", Link: wire.LinkEthernet}, {Name: "r:eth1", Description: "a router's", Link: wire.LinkEthernet, Snaplen: 20}} {
		if got, err := w.AddInterface(i); got != n || err != nil {
			t.Fatalf("interface %d has the number %d, %v", n, got, err)
		}
	}
	for n, p := range ngPackets() {
		if err := w.WritePacket(p); err != nil {
			t.Fatalf("packet %d: %v", n, err)
		}
	}
	if err := w.WriteStats(1, begin.Add(3*time.Second), 7, 2); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ngPackets() []Packet {
	return []Packet{
		{Time: begin, Data: arp, Length: len(arp), Direction: DirectionOut},
		{Time: begin.Add(time.Second), Data: arp, Length: len(arp), Interface: 1, Direction: DirectionIn},
		{Time: begin.Add(2 * time.Second), Data: arp[:17], Length: 17},
	}
}

func TestPcapngRoundTrip(t *testing.T) {
	for _, order := range []binary.ByteOrder{nil, binary.LittleEndian, binary.BigEndian} {
		file := writeNG(t, order)
		r, err := NewPcapngReader(bytes.NewReader(append(bytes.Clone(file), writeNG(t, binary.BigEndian)...)))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // sections
			for n, want := range ngPackets() {
				p, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if want.Interface == 1 {
					want.Data = want.Data[:20]
				}
				if !p.Time.Equal(want.Time) || !bytes.Equal(p.Data, want.Data) || p.Length != want.Length || p.Interface != want.Interface || p.Direction != want.Direction {
					t.Errorf("packet %d is %+v", n, p)
				}
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		if s := r.Section(); s.OS != "test" || s.Application != "towpath" || s.Hardware != "" || s.Order != binary.BigEndian {
			t.Errorf("section is %+v", s)
		}
		all := r.Interfaces()
		if len(all) != 2 || all[0].Name != "alice:eth0" || all[0].Counted || all[0].Link != wire.LinkEthernet || all[0].Snaplen != PacketMax {
			t.Fatalf("interfaces are %+v", all)
		}
		if i := all[1]; i.Description != "a router's" || i.Snaplen != 20 || !i.Counted || i.Received != 7 || i.Dropped != 2 {
			t.Errorf("the second interface is %+v", i)
		}
	}
}

func TestPcapngWriterRefuses(t *testing.T) {
	w, err := NewPcapngWriter(io.Discard, Section{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(Interface{Snaplen: PacketMax + 1}); err == nil {
		t.Error("too large a snapshot length was taken")
	}
	if w.WritePacket(Packet{Time: begin}) == nil || w.WriteStats(0, begin, 1, 1) == nil {
		t.Error("an interface that is not there was taken")
	}
	if _, err := w.AddInterface(Interface{}); err != nil {
		t.Fatal(err)
	}
	if w.WritePacket(Packet{Time: begin, Data: arp, Length: 3}) == nil {
		t.Error("more captured than there was")
	}
	for _, year := range []int{1969, 2263, 1} {
		if w.WritePacket(Packet{Time: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}) == nil {
			t.Errorf("a time in the year %d was taken", year)
		}
	}
}

// A builder makes blocks by hand, little endian.
type builder struct{ bytes.Buffer }

func (b *builder) block(kind uint32, body ...any) *builder {
	var w bytes.Buffer
	for _, v := range body {
		binary.Write(&w, binary.LittleEndian, v)
	}
	for w.Len()%4 != 0 {
		w.WriteByte(0)
	}
	n := uint32(w.Len() + 12)
	binary.Write(b, binary.LittleEndian, []uint32{kind, n})
	b.Write(w.Bytes())
	binary.Write(b, binary.LittleEndian, n)
	return b
}

func (b *builder) section() *builder {
	return b.block(blockSection, uint32(byteOrderMagic), uint16(1), uint16(0), int64(-1))
}

// iface has options given as code and value by turns.
func (b *builder) iface(options ...any) *builder {
	body := []any{uint16(wire.LinkEthernet), uint16(0), uint32(0)}
	for i := 0; i < len(options); i += 2 {
		v := options[i+1].([]byte)
		body = append(body, uint16(options[i].(int)), uint16(len(v)), v, make([]byte, padded(len(v))-len(v)))
	}
	return b.block(blockInterface, body...)
}

func (b *builder) packet(kind uint32, time uint64, data string) *builder {
	return b.block(kind, uint32(0), uint32(time>>32), uint32(time), uint32(len(data)), uint32(len(data)), []byte(data))
}

// TestPcapngOthers reads what others write and we do not.
func TestPcapngOthers(t *testing.T) {
	utc := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	unit := func(v byte) []any { return []any{optionResolution, []byte{v}} }
	for _, c := range []struct {
		name    string
		options []any
		time    uint64
		want    string
	}{
		{"microseconds are the default", nil, 1_500_000, "1970-01-01T00:00:01.5Z"},
		{"seconds", unit(0), 3, "1970-01-01T00:00:03Z"},
		{"picoseconds", unit(12), 1_000_000_001_999, "1970-01-01T00:00:01.000000001Z"},
		{"attoseconds", unit(18), 2_000_000_000_000_000_000, "1970-01-01T00:00:02Z"},
		{"powers of two", unit(0x80 | 10), 1024 + 512, "1970-01-01T00:00:01.5Z"},
		{"the smallest", unit(0x80 | 63), 3 << 62, "1970-01-01T00:00:01.5Z"},
		{"the largest", unit(0x80), 5, "1970-01-01T00:00:05Z"},
		{"offset", []any{optionTimeOffset, binary.LittleEndian.AppendUint64(nil, 1<<64-10)}, 1_000_000, "1969-12-31T23:59:51Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b builder
			b.section().iface(c.options...).
				block(0x0bad, []byte("unknown")).block(4, make([]byte, 100_000)).
				packet(blockEnhanced, c.time, "abc").packet(blockPacket, c.time, "abc")
			r, err := NewPcapngReader(&b)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if p, err := r.Next(); err != nil || !p.Time.Equal(utc(c.want)) || string(p.Data) != "abc" {
					t.Errorf("packet is %+v, %v", p, err)
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Error(err)
			}
		})
	}
	t.Run("simple packets", func(t *testing.T) {
		var b builder
		b.section().iface().block(blockSimple, uint32(3), []byte("abc"))
		r, err := NewPcapngReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := r.Next(); err != nil || string(p.Data) != "abc" || p.Length != 3 {
			t.Errorf("packet is %+v, %v", p, err)
		}
	})
}

// TestPcapngBroken lists what is said about files that are none.
func TestPcapngBroken(t *testing.T) {
	b := func(f func(b *builder)) []byte {
		var x builder
		f(x.section())
		return x.Bytes()
	}
	good := b(func(b *builder) { b.iface().packet(blockEnhanced, 1, "abc") })
	for _, c := range []struct {
		name string
		file []byte
		want string
		is   error
	}{
		{"empty", nil, "savefile: not a pcapng file: it has 0 bytes, fewer than the first block", ErrNotPcapng},
		{"pcap", write(t, Header{Order: binary.LittleEndian}), "savefile: not a pcapng file: it begins with 4d 3c b2 a1", ErrNotPcapng},
		{"order", append(bytes.Clone(good[:8]), 1, 2, 3, 4), "savefile: block 1 at byte 0: its byte order is 01 02 03 04", nil},
		{"section cut", good[:13], "savefile: block 1 at byte 0: it ends after 13 of 28 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"version", append(append(bytes.Clone(good[:12]), 2), good[13:]...), "savefile: block 1 at byte 0: it is of version 2.0, not of 1.0", nil},
		{"header cut", good[:30], "savefile: block 2 at byte 28: it ends after 2 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"packet cut", good[:len(good)-5], "savefile: block 3 at byte 48: it ends after 31 of 36 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"lengths", append(bytes.Clone(good[:len(good)-4]), 40, 0, 0, 0), "savefile: block 3 at byte 48: it begins with a length of 36 and ends with one of 40", nil},
		{"length of a block", b(func(b *builder) { b.Write([]byte{9, 0, 0, 0, 13, 0, 0, 0}) }), "savefile: block 2 at byte 28: its length is 13; lengths are multiples of four from 12 on", nil},
		{"a huge packet", b(func(b *builder) { b.Write([]byte{6, 0, 0, 0, 0, 0, 0, 1}) }), "savefile: block 2 at byte 28: its length is 16777216; there are at most 1048576 bytes in such a block", nil},
		{"a huge unknown block", b(func(b *builder) { b.Write([]byte{9, 0, 0, 0, 4, 0, 0, 1}) }), "savefile: block 2 at byte 28: its length is 16777220; there are at most 16777216 bytes in such a block", nil},
		{"an unknown block cut", b(func(b *builder) { b.Write([]byte{9, 0, 0, 0, 20, 0, 0, 0, 1}) }), "savefile: block 2 at byte 28: it ends after 9 of 20 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"no interface", b(func(b *builder) { b.packet(blockEnhanced, 1, "abc") }), "savefile: block 2 at byte 28: it is of interface 0, where there are 0", nil},
		{"no interface for a simple one", b(func(b *builder) { b.block(blockSimple, uint32(0)) }), "savefile: block 2 at byte 28: it is of interface 0, where there are 0", nil},
		{"no interface for statistics", b(func(b *builder) { b.block(blockStatistics, [3]uint32{}) }), "savefile: block 2 at byte 28: it is of interface 0, where there are 0", nil},
		{"captured beyond", b(func(b *builder) { b.iface().block(blockEnhanced, [5]uint32{0, 0, 0, 9, 9}, uint32(0)) }), "savefile: block 3 at byte 48: it claims 9 captured bytes, of which 4 are there", nil},
		{"captured more", b(func(b *builder) { b.iface().block(blockEnhanced, [5]uint32{0, 0, 0, 4, 3}, uint32(0)) }), "savefile: block 3 at byte 48: it claims 4 captured bytes of a packet of 3", nil},
		{"captured too much", b(func(b *builder) { b.iface().block(blockEnhanced, [5]uint32{0, 0, 0, 1 << 20, 1 << 20}) }), "savefile: block 3 at byte 48: it claims 1048576 captured bytes; there are at most 262144", nil},
		{"option beyond", b(func(b *builder) { b.iface().block(blockEnhanced, [5]uint32{}, uint16(2), uint16(5), uint32(0)) }), "savefile: block 3 at byte 48: its option 2 has 5 bytes, of which 4 are there", nil},
		{"flags", b(func(b *builder) { b.iface().block(blockEnhanced, [5]uint32{}, uint16(2), uint16(2), uint32(0)) }), "savefile: block 3 at byte 48: its flags have 2 bytes", nil},
		{"unit", b(func(b *builder) { b.iface(optionResolution, []byte{19}) }), "savefile: block 2 at byte 28: its unit of time is 10^-19 s; units are from 1 to 10^-18 s", nil},
		{"binary unit", b(func(b *builder) { b.iface(optionResolution, []byte{0xc0}) }), "savefile: block 2 at byte 28: its unit of time is 2^-64 s; units are from 1 to 2^-63 s", nil},
		{"time", b(func(b *builder) { b.iface(optionResolution, []byte{0}).packet(blockEnhanced, 1<<41, "") }), "savefile: block 3 at byte 56: its time is beyond the year 30000", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := NewPcapngReader(bytes.NewReader(c.file))
			for err == nil {
				_, err = r.Next()
			}
			if err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
		})
	}
}

// TestPcapngTools lets others' programs read what we write.
func TestPcapngTools(t *testing.T) {
	for name, order := range map[string]binary.ByteOrder{"little.pcapng": binary.LittleEndian, "big.pcapng": binary.BigEndian} {
		file := filepath.Join(t.TempDir(), name)
		// libpcap wants one snapshot length in a file.
		var b bytes.Buffer
		w, _ := NewPcapngWriter(&b, Section{Application: "towpath", Order: order})
		w.AddInterface(Interface{Name: "alice:eth0", Link: wire.LinkEthernet})
		w.AddInterface(Interface{Name: "r:eth1", Link: wire.LinkEthernet})
		for _, p := range ngPackets()[:2] {
			if err := w.WritePacket(p); err != nil {
				t.Fatal(err)
			}
		}
		w.WriteStats(0, begin.Add(time.Second), 5, 4)
		w.WriteStats(1, begin.Add(time.Second), 1, 0)
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			program string
			args    []string
			want    []string
		}{
			{"tcpdump", []string{"-n", "--nano", "-r", file}, []string{"12:00:00.123456789", "12:00:01.123456789", "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"}},
			{"capinfos", []string{file}, []string{"pcapng", "Number of packets:   2", "alice:eth0", "towpath"}},
			{"tshark", []string{"-n", "-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction"}, []string{"alice:eth0\t0x00000002", "r:eth1\t0x00000001"}},
		} {
			t.Run(c.program+"/"+name, func(t *testing.T) {
				path, err := exec.LookPath(c.program)
				if err != nil {
					t.Skipf("no %s in PATH", c.program)
				}
				cmd := exec.Command(path, c.args...)
				cmd.Env = append(os.Environ(), "TZ=UTC")
				out, err := cmd.Output()
				for _, w := range c.want {
					if err != nil || !strings.Contains(string(out), w) {
						t.Errorf("%q is not in %q, %v", w, out, err)
					}
				}
			})
		}
	}
}

// FuzzPcapngReader: no file makes the reader panic or hold much memory, and
// what it reads is read again the same after having been written.
func FuzzPcapngReader(f *testing.F) {
	f.Add(writeNG(f, binary.LittleEndian))
	f.Add(append(writeNG(f, binary.BigEndian), writeNG(f, binary.LittleEndian)...))
	var b builder
	b.section().iface(optionResolution, []byte{0x8a}).block(99, []byte("x")).packet(blockPacket, 5, "abc").block(blockSimple, uint32(1), []byte("a"))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewPcapngReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		var out bytes.Buffer
		w, err := NewPcapngWriter(&out, Section{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.AddInterface(Interface{Name: "all"})
		if err != nil {
			t.Fatal(err)
		}
		var all []Packet
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			if cap(r.buf) > blockKeptMax || len(r.interfaces) > interfacesMax {
				t.Fatalf("holds %d bytes and %d interfaces", cap(r.buf), len(r.interfaces))
			}
			if p.Interface >= len(r.Interfaces()) {
				t.Fatalf("packet of interface %d", p.Interface)
			}
			p.Interface, p.Data = n, bytes.Clone(p.Data)
			if _, ok := nanoseconds(p.Time); !ok {
				p.Time = begin
			}
			if err := w.WritePacket(p); err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		if r, err = NewPcapngReader(&out); err != nil {
			t.Fatal(err)
		}
		for i, want := range all {
			p, err := r.Next()
			if err != nil || !p.Time.Equal(want.Time) || p.Length != want.Length || !bytes.Equal(p.Data, want.Data) || p.Direction != want.Direction {
				t.Fatalf("packet %d: %+v, %v; want %+v", i, p, err, want)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
	})
}
