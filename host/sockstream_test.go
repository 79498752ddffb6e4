package host

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/packet"
)

// streams are two sockets with a connection.
func streams(t *testing.T, h *Host) (a, b *Socket) {
	t.Helper()
	open := func() *Socket {
		s, e := h.Socket(AFInet, SockStream, 0)
		if e != 0 {
			t.Fatal(e)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	l, a := open(), open()
	at := netip.MustParseAddrPort("127.0.0.1:7")
	if e := l.Bind(at); e != 0 {
		t.Fatal(e)
	}
	if e := l.Listen(1); e != 0 {
		t.Fatal(e)
	}
	if e := a.Connect(at); e != syscall.EINPROGRESS {
		t.Fatal(e)
	}
	b, e := l.Accept()
	if e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

// TestFrags: bytes that are lent arrive as those that are copied do, whatever
// their sizes, also where buffers are full.
func TestFrags(t *testing.T) {
	h := New(Config{Name: "h"})
	defer h.Close(context.Background())
	a, b := streams(t, h)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want, got []byte
	small := make([]byte, 100)
	receive := func() bool {
		n, e := b.RecvTo(small, func(parts [][]byte) {
			for _, p := range parts {
				got = append(got, p...)
			}
		})
		if e != 0 && e != syscall.EAGAIN {
			t.Fatal(e)
		}
		return n > 0
	}
	full := false
	for range 800 {
		ch := packet.GetChunk(packet.LargeChunk)
		size := 1 + rnd.IntN(packet.LargeChunk)
		if rnd.IntN(2) == 0 {
			size = 1 + rnd.IntN(3000)
		}
		for i := range ch.Bytes()[:size] {
			ch.Bytes()[i] = byte(rnd.Uint32())
		}
		want = append(want, ch.Bytes()[:size]...)
		f := packet.Frag{Chunk: ch, Len: uint32(size)}
		for f.Len > 0 {
			n, kept, e := a.SendFrag(f)
			if kept {
				ch = nil
			}
			if f.Off, f.Len = f.Off+uint32(n), f.Len-uint32(n); e == syscall.EAGAIN {
				full = true
				for receive() {
				}
			} else if e != 0 {
				t.Fatal(e)
			}
		}
		if ch != nil {
			ch.Release()
		}
		if rnd.IntN(10) == 0 {
			receive()
		}
	}
	a.Shutdown(ShutWr)
	for receive() {
	}
	if !full {
		t.Error("the buffers were never full")
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d are as they should be", len(got), len(want))
	}
	if n, e := b.RecvTo(small, nil); n != 0 || e != 0 {
		t.Errorf("behind the end: %d, %v", n, e)
	}
	a.Close()
	ch := packet.GetChunk(packet.LargeChunk)
	defer ch.Release()
	for _, size := range []uint32{1, packet.LargeChunk} {
		if _, kept, e := a.SendFrag(packet.Frag{Chunk: ch, Len: size}); kept || e != syscall.EBADF {
			t.Errorf("closed: kept %v, %v", kept, e)
		}
	}
}

// TestFragUrgent: what is lent stops before urgent data, which is not in it.
func TestFragUrgent(t *testing.T) {
	h := New(Config{Name: "h"})
	defer h.Close(context.Background())
	a, b := streams(t, h)
	a.Send(bytes.Repeat([]byte{'x'}, 500), 0, netip.AddrPort{}, nil)
	if e := a.SendUrgent('!'); e != 0 {
		t.Fatal(e)
	}
	a.Send(bytes.Repeat([]byte{'y'}, 500), 0, netip.AddrPort{}, nil)
	var got []byte
	for {
		n, e := b.RecvTo(make([]byte, 100), func(parts [][]byte) {
			for _, p := range parts {
				got = append(got, p...)
			}
		})
		if n == 0 || e != 0 {
			break
		}
	}
	if want := bytes.Repeat([]byte{'x'}, 500); !bytes.Equal(got[:min(500, len(got))], want) || bytes.IndexByte(got, '!') >= 0 || len(got) != 1000 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
