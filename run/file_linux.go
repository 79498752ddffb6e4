//go:build amd64 || arm64

package run

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/posix/procnet"
)

const (
	// pathMax bounds the paths that are looked at: those of adapters' settings
	// are the longest.
	pathMax  = 256
	pageSize = 4096 // the smallest there is: a path is read up to its end
	// settingMax bounds what is written to a setting.
	settingMax = 4096
)

// A setting is a file under /proc/sys/net that a program has opened to write: a
// pipe, of which each write comes out by itself.
type setting struct {
	path string
	*near

	mu sync.Mutex // held while what was written is on its way to the host
}

// open answers openat, and what is like it, if the path is of a file that is the
// host's; at is where the path is. It is asked of every file that a program
// opens, so what is none of ours is found out by one call.
func (c *call) open(at, flags uint64) {
	b, ok := c.readPath(at)
	if !ok || !bytes.HasPrefix(b, []byte("/proc/")) {
		c.pass()
		return
	}
	path := string(b)
	if !procnet.Has(path) || flags&unix.O_DIRECTORY != 0 {
		c.pass()
		return
	}
	c.flush()
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		c.openSetting(path, flags)
		return
	}
	text, e := procnet.Read(c.host, path)
	if e == syscall.ENOENT {
		if fi, err := os.Stat(path); err == nil && fi.IsDir() {
			c.pass()
			return
		}
	}
	if e != 0 {
		c.fail(e)
		return
	}
	fd, err := unix.MemfdCreate("procnet", unix.MFD_CLOEXEC)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	defer unix.Close(fd)
	for rest := []byte(text); len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			c.fail(errnoOf(err))
			return
		}
		rest = rest[n:]
	}
	unix.Seek(fd, 0, io.SeekStart)
	if err := c.l.ReturnFD(c.ID, fd, flags&unix.O_CLOEXEC != 0); err != nil {
		c.fail(errnoOf(err))
	}
}

// readPath reads a path that is not too long.
func (c *call) readPath(at uint64) ([]byte, bool) {
	var b [pathMax]byte
	// Beyond the page there may be nothing: then what is on it counts.
	first := min(pathMax, pageSize-int(at%pageSize))
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: first}}
	if first < pathMax {
		remote = append(remote, unix.RemoteIovec{Base: uintptr(at) + uintptr(first), Len: pathMax - first})
	}
	n, err := unix.ProcessVMReadv(int(c.PID), local, remote, 0)
	if err != nil {
		return nil, false
	}
	path, _, ok := bytes.Cut(b[:n], []byte{0})
	return path, ok
}

// openSetting gives the program a pipe to a setting.
func (c *call) openSetting(path string, flags uint64) {
	switch _, e := procnet.Read(c.host, path); {
	case e != 0:
		c.fail(e)
		return
	case !strings.HasPrefix(path, procnet.SettingsDir), flags&unix.O_ACCMODE == unix.O_RDWR:
		c.fail(syscall.EACCES)
		return
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		c.fail(errnoOf(err))
		return
	}
	defer unix.Close(p[1])
	unix.SetNonblock(p[1], false)
	n, err := newNear(p[0])
	if err != nil {
		unix.Close(p[0])
		c.fail(errnoOf(err))
		return
	}
	s := &setting{path: path, near: n}
	c.mu.Lock()
	c.settings = append(c.settings, s)
	c.mu.Unlock()
	c.spawn(func() { c.serveSetting(s) })
	if err := c.l.ReturnFD(c.ID, p[1], flags&unix.O_CLOEXEC != 0); err != nil {
		c.fail(errnoOf(err))
	}
}

// serveSetting writes to the host what comes, until the program has closed the
// file.
func (s *server) serveSetting(f *setting) {
	f.raw.Read(func(fd uintptr) bool { return s.take(f, int(fd)) })
	s.mu.Lock()
	s.settings = slices.DeleteFunc(s.settings, func(o *setting) bool { return o == f })
	s.mu.Unlock()
	f.Close()
}

// take writes to the host what is there, and reports whether it was the last.
func (s *server) take(f *setting, fd int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for b := make([]byte, settingMax); ; {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err != unix.EAGAIN
		case n == 0:
			return true
		}
		if e := procnet.Write(s.host, f.path, string(b[:n])); e != 0 {
			s.warn(fmt.Sprintf("%s: %q: %v", f.path, strings.TrimSpace(string(b[:n])), e))
		}
	}
}

// flush makes the settings that were written the host's, before something
// follows from them.
func (s *server) flush() {
	s.mu.Lock()
	list := slices.Clone(s.settings)
	s.mu.Unlock()
	for _, f := range list {
		f.raw.Control(func(fd uintptr) { s.take(f, int(fd)) })
	}
}
