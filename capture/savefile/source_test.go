package savefile_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// pcapFile and pcapngFile are files of one packet; the latter may have a second
// interface with a packet.
func pcapFile(t *testing.T) []byte {
	var b bytes.Buffer
	w, err := savefile.NewWriter(&b, savefile.Header{Link: wire.LinkRaw, Snaplen: 100})
	if err == nil {
		err = w.WritePacket(time.Unix(7, 8), []byte("abc"), 5)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pcapngFile(t *testing.T, more ...savefile.Interface) []byte {
	var b bytes.Buffer
	w, err := savefile.NewPcapngWriter(&b, savefile.Section{})
	for i, f := range append([]savefile.Interface{{Name: "eth0", Link: wire.LinkRaw, Snaplen: 100}}, more...) {
		if err == nil {
			_, err = w.AddInterface(f)
		}
		if err == nil {
			err = w.WritePacket(savefile.Packet{Time: time.Unix(7, 8), Data: []byte("abc"), Length: 5, Interface: i})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return z.Bytes()
}

func TestSource(t *testing.T) {
	for name, b := range map[string][]byte{
		"pcap": pcapFile(t), "pcapng": pcapngFile(t),
		"pcap.gz": gzipped(t, pcapFile(t)), "pcapng.gz": gzipped(t, pcapngFile(t)),
	} {
		s, err := savefile.NewSource(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if h := s.Header(); h.Link != wire.LinkRaw || h.Snaplen != 100 {
			t.Errorf("%s: header is %+v", name, h)
		}
		p, err := s.Next()
		if err != nil || string(p.Data) != "abc" || p.Length != 5 || !p.Time.Equal(time.Unix(7, 8)) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if _, err = s.Next(); err != io.EOF {
			t.Errorf("%s ends with %v", name, err)
		}
		if ng := strings.HasPrefix(name, "pcapng"); ng != (len(s.Interfaces()) == 1) {
			t.Errorf("%s has interfaces %v", name, s.Interfaces())
		}
		if _, err := savefile.NewSource(bytes.NewReader(b[:len(b)/3])); err == nil {
			t.Errorf("%s cut short was taken", name)
		}
	}
}

func TestSourceOtherInterface(t *testing.T) {
	for _, i := range []savefile.Interface{{Link: wire.LinkEthernet, Snaplen: 100}, {Link: wire.LinkRaw, Snaplen: 200}} {
		s, err := savefile.NewSource(bytes.NewReader(pcapngFile(t, i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.Next(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err = s.Next(); err == nil || !strings.HasPrefix(err.Error(), "savefile: interface 1 has link type ") {
				t.Errorf("%v", err)
			}
		}
	}
	s, err := savefile.NewSource(bytes.NewReader(pcapngFile(t, savefile.Interface{Name: "eth1", Link: wire.LinkRaw, Snaplen: 100})))
	for err == nil {
		_, err = s.Next()
	}
	if err != io.EOF {
		t.Errorf("a second interface of the same kind: %v", err)
	}
	var none bytes.Buffer
	savefile.NewPcapngWriter(&none, savefile.Section{})
	if _, err := savefile.NewSource(&none); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file without interfaces: %v", err)
	}
}

func FuzzSource(f *testing.F) {
	t := new(testing.T)
	for _, b := range [][]byte{pcapFile(t), pcapngFile(t), gzipped(t, pcapFile(t))} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := savefile.NewSource(bytes.NewReader(b))
		for n := 0; err == nil; n++ {
			var p savefile.Packet
			if p, err = s.Next(); err == nil && (len(p.Data) > savefile.PacketMax || len(p.Data) > p.Length || n > 1<<20) {
				t.Fatalf("packet %d has %d of %d bytes", n, len(p.Data), p.Length)
			}
		}
	})
}
