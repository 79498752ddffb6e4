package sockfilter_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/sockfilter"
)

// pair makes two sockets that are connected.
func pair(t *testing.T, kind int) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no socket pair: %v", err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return fds[0], fds[1]
}

// send writes datagrams. The kernel may tell who sends that a filter refuses.
func send(fd int, datagrams ...string) {
	for _, d := range datagrams {
		_, _ = unix.Write(fd, []byte(d))
	}
}

// received reads what waits.
func received(t *testing.T, fd int) (all []string) {
	t.Helper()
	for {
		buf := make([]byte, 100)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(buf[:n]))
	}
}

func assemble(t *testing.T, text string) bpf.Program {
	t.Helper()
	p, err := bpf.Assemble(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// attach skips the test where the kernel does not know filters.
func attach(t *testing.T, fd int, p bpf.Program) {
	t.Helper()
	if err := sockfilter.Attach(fd, p); errors.Is(err, unix.ENOPROTOOPT) {
		t.Skipf("the kernel attaches no filter here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// b keeps three bytes of what begins with b.
const b = "ldb [0]\njeq #98, keep\nret #0\nkeep: ret #3"

func TestAttach(t *testing.T) {
	at, from := pair(t, unix.SOCK_DGRAM)
	send(from, "before", "", "bbefore")
	attach(t, at, assemble(t, b))
	send(from, "after", "bafter", "b")
	if got := received(t, at); !slices.Equal(got, []string{"baf", "b"}) {
		t.Errorf("received %q", got)
	}
	for range 2 {
		if err := sockfilter.Detach(at); err != nil {
			t.Error(err)
		}
	}
	send(from, "none")
	if got := received(t, at); !slices.Equal(got, []string{"none"}) {
		t.Errorf("received without a filter: %q", got)
	}
}

// TestMemory attaches what the kernel refuses if memory is not written first.
func TestMemory(t *testing.T) {
	at, from := pair(t, unix.SOCK_DGRAM)
	attach(t, at, assemble(t, "ldb [0]\njeq #98, skip\nst M[3]\nskip: ldx M[3]\ntxa\nret a"))
	send(from, "b is refused", "\x02 bytes")
	if got := received(t, at); !slices.Equal(got, []string{"\x02 "}) {
		t.Errorf("received %q", got)
	}
}

func TestStream(t *testing.T) {
	at, from := pair(t, unix.SOCK_STREAM)
	send(from, "waits")
	attach(t, at, assemble(t, "ret #-1"))
	if got := received(t, at); !slices.Equal(got, []string{"waits"}) {
		t.Errorf("received %q", got)
	}
}

func TestRefused(t *testing.T) {
	at, from := pair(t, unix.SOCK_DGRAM)
	attach(t, at, assemble(t, b))
	send(from, "b")
	for _, c := range []struct {
		text, want string
	}{
		{"again: ja again\nret #0", "jumps backwards"},
		{"ld M[1]\n" + strings.Repeat("tax\n", bpf.MaxLen-2) + "ret a", "4097 instructions"},
	} {
		if err := sockfilter.Attach(at, assemble(t, c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.text, err, c.want)
		}
	}
	if err := sockfilter.Attach(at, nil); err == nil {
		t.Error("the empty program is attached")
	}
	if err := sockfilter.Attach(-1, assemble(t, b)); !errors.Is(err, unix.EBADF) {
		t.Errorf("no socket: %v", err)
	}
	if err := sockfilter.Detach(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no socket: %v", err)
	}
	// What was refused has not touched the socket.
	send(from, "a", "bcde")
	if got := received(t, at); !slices.Equal(got, []string{"b", "bcd"}) {
		t.Errorf("received %q", got)
	}
}
