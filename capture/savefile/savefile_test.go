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

var begin = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// arp is a request in an Ethernet frame, udp a bare IPv4 packet.
var (
	arp = []byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06" +
		"\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x02")
	udp = []byte("\x45\x00\x00\x20\x00\x01\x00\x00\x40\x11\x66\xca\x0a\x00\x00\x01\x0a\x00\x00\x02" +
		"\x30\x39\x00\x07\x00\x0c\x00\x00ping")
)

func write(t *testing.T, h Header, data ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range data {
		if err := w.WritePacket(begin.Add(time.Duration(i)*time.Second), d, len(d)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, order := range []binary.ByteOrder{nil, binary.LittleEndian, binary.BigEndian} {
		for _, micro := range []bool{false, true} {
			b := write(t, Header{Link: wire.LinkEthernet, Snaplen: 20, Micro: micro, Order: order}, arp, arp[:5], nil)
			r, err := NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			h := r.Header()
			if h.Link != wire.LinkEthernet || h.Snaplen != 20 || h.Micro != micro || order != nil && h.Order != order {
				t.Errorf("header is %+v", h)
			}
			for i, want := range [][]byte{arp[:20], arp[:5], nil} {
				p, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				at := begin.Add(time.Duration(i) * time.Second)
				if micro {
					at = at.Truncate(time.Microsecond)
				}
				if !p.Time.Equal(at) || !bytes.Equal(p.Data, want) || i == 0 && p.Length != len(arp) {
					t.Errorf("packet %d is %+v", i, p)
				}
			}
			for range 2 {
				if _, err := r.Next(); err != io.EOF {
					t.Errorf("at the end: %v", err)
				}
			}
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	if _, err := NewWriter(io.Discard, Header{Snaplen: PacketMax + 1}); err == nil {
		t.Error("too large a snapshot length was taken")
	}
	w, _ := NewWriter(io.Discard, Header{})
	if w.WritePacket(begin, arp, 3) == nil {
		t.Error("more captured than there was")
	}
	if w.WritePacket(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC), arp, len(arp)) == nil {
		t.Error("a time before 1970 was taken")
	}
}

// TestBroken lists what is said about files that are none.
func TestBroken(t *testing.T) {
	good := write(t, Header{Link: wire.LinkEthernet, Order: binary.LittleEndian}, arp, arp)
	second := headerLen + recordLen + len(arp)
	edit := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
		is   error
	}{
		{"empty", nil, "savefile: not a pcap file: it has 0 bytes, fewer than the header", ErrFormat},
		{"short header", good[:23], "savefile: not a pcap file: it has 23 bytes, fewer than the header", ErrFormat},
		{"magic", edit(0, 'P', 'K', 3, 4), "savefile: not a pcap file: it begins with 50 4b 03 04", ErrFormat},
		{"pcapng", edit(0, 0x0a, 0x0d, 0x0d, 0x0a), "savefile: not a pcap file but a pcapng file", ErrPcapng},
		{"version", edit(6, 3), "savefile: not a pcap file of version 2.4 but 2.3", ErrFormat},
		{"link type", edit(22, 1), "savefile: link type 65537 is unknown", nil},
		{"record cut", good[:second+7], "savefile: packet 2 at byte 82: its header ends after 7 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"record without data", good[:second+16], "savefile: packet 2 at byte 82: it ends after 0 of 42 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"data cut", good[:len(good)-1], "savefile: packet 2 at byte 82: it ends after 41 of 42 bytes: unexpected EOF", io.ErrUnexpectedEOF},
		{"huge", edit(second+8, 1, 0, 4, 0, 1, 0, 4, 0), "savefile: packet 2 at byte 82: it claims 262145 captured bytes; there are at most 262144", nil},
		{"captured more", edit(second+12, 41), "savefile: packet 2 at byte 82: it claims 42 captured bytes of a packet of 41", nil},
		{"length", edit(second+15, 0x80), "savefile: packet 2 at byte 82: it claims a length of 2147483690 bytes", nil},
		{"fraction", edit(second+4, 0, 0xca, 0x9a, 0x3b), "savefile: packet 2 at byte 82: its time has a fraction of 1000000000, a second or more", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(c.file))
			for err == nil {
				_, err = r.Next()
			}
			if err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
		})
	}
}

// TestTcpdump lets the real tcpdump read what we write.
func TestTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("no tcpdump in PATH")
	}
	for _, c := range []struct {
		name string
		h    Header
		data []byte
		want string
	}{
		{"ethernet", Header{Link: wire.LinkEthernet}, arp, "12:00:00.123456 ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"},
		{"ethernet micro big", Header{Link: wire.LinkEthernet, Micro: true, Order: binary.BigEndian}, arp, "12:00:00.123456 ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"},
		{"nano", Header{Link: wire.LinkEthernet}, arp, "--nano 12:00:00.123456789 ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"},
		{"raw", Header{Link: wire.LinkRaw, Order: binary.BigEndian}, udp, "12:00:00.123456 IP 10.0.0.1.12345 > 10.0.0.2.7: UDP, length 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.pcap")
			if err := os.WriteFile(file, write(t, c.h, c.data), 0o644); err != nil {
				t.Fatal(err)
			}
			args := []string{"-n", "-r", file}
			want, nano := strings.CutPrefix(c.want, "--nano ")
			if nano {
				args = append(args, "--nano")
			}
			cmd := exec.Command(tcpdump, args...)
			cmd.Env = append(os.Environ(), "TZ=UTC")
			out, err := cmd.Output()
			if err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("got  %q, %v\nwant %q", out, err, want)
			}
		})
	}
}

// FuzzReader: no file makes the reader panic or hold much memory, and what it
// reads is read again the same after having been written.
func FuzzReader(f *testing.F) {
	w := func(h Header, data ...[]byte) []byte {
		var b bytes.Buffer
		w, _ := NewWriter(&b, h)
		for _, d := range data {
			w.WritePacket(begin, d, len(d))
		}
		return b.Bytes()
	}
	f.Add(w(Header{Link: wire.LinkEthernet}, arp, arp[:7]))
	f.Add(w(Header{Link: wire.LinkRaw, Micro: true, Order: binary.BigEndian, Snaplen: 30}, udp))
	f.Add([]byte("\x0a\x0d\x0d\x0a"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		var b bytes.Buffer
		again, err := NewWriter(&b, r.Header())
		if err != nil {
			t.Fatal(err)
		}
		var all []Packet
		for {
			p, err := r.Next()
			if err != nil {
				break
			}
			if cap(p.Data) > PacketMax {
				t.Fatalf("holds %d bytes", cap(p.Data))
			}
			p.Data = bytes.Clone(p.Data[:min(len(p.Data), r.Header().Snaplen)])
			if err := again.WritePacket(p.Time, p.Data, p.Length); err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		r, err = NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range all {
			p, err := r.Next()
			if err != nil || !p.Time.Equal(want.Time) || p.Length != want.Length || !bytes.Equal(p.Data, want.Data) {
				t.Fatalf("packet %d: %+v, %v; want %+v", i, p, err, want)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
	})
}
