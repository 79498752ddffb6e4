package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// packetMax is the longest message that goes in one packet, well below the
	// least default of the kernel's socket buffer. Longer ones go in a file.
	packetMax = 64 << 10
	// messageMax bounds a message.
	messageMax = 64 << 20
)

// message is what parent and machine tell each other. Descriptors travel beside
// it.
type message struct {
	Kind kind

	Config *Config `json:",omitempty"` // kindConfig
	Probe  bool    `json:",omitempty"` // kindConfig: only find out what works

	Veth   bool    `json:",omitempty"` // kindReady: ports are packet sockets
	Checks []Check `json:",omitempty"` // kindReady, of a probe

	ID       uint64   `json:",omitempty"` // of a program
	Args     []string `json:",omitempty"` // kindExec
	Env      []string `json:",omitempty"`
	Dir      string   `json:",omitempty"`
	Terminal bool     `json:",omitempty"`
	PID      int      `json:",omitempty"` // kindStarted
	Signal   int      `json:",omitempty"` // kindSignal
	Status   uint32   `json:",omitempty"` // kindExited

	Error string     `json:",omitempty"` // kindFailed, of a program or, ID 0, of the machine
	Errno unix.Errno `json:",omitempty"`
}

type kind string

const (
	kindConfig  kind = "config"  // to the machine: be this
	kindReady   kind = "ready"   // from the machine, with its ports
	kindExec    kind = "exec"    // to: start a program, with its files
	kindStarted kind = "started" // from: it runs
	kindSignal  kind = "signal"  // to: signal it
	kindExited  kind = "exited"  // from: it has ended
	kindFailed  kind = "failed"  // from: could not be done
)

// failed makes the answer for an error.
func failed(id uint64, err error) message {
	m := message{Kind: kindFailed, ID: id, Error: err.Error()}
	errors.As(err, &m.Errno)
	return m
}

// err is the error that a kindFailed message brings.
func (m *message) err() error { return &remoteError{m.Error, m.Errno} }

// remoteError is an error that happened in the machine.
type remoteError struct {
	text  string
	errno unix.Errno
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// control is one end of the socket between parent and machine.
type control struct {
	conn *net.UnixConn
	mu   sync.Mutex // serializes send
	buf  []byte     // of receive
	oob  []byte
}

// newControl takes over f.
func newControl(f *os.File) (*control, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("control socket is of the wrong kind")
	}
	return &control{conn: u}, nil
}

// send sends a message and copies of the files.
func (c *control) send(m message, fds ...int) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) > messageMax {
		return fmt.Errorf("message of %d bytes: %w", len(b), unix.E2BIG)
	}
	if len(b) > packetMax {
		f, err := fileOf(b)
		if err != nil {
			return err
		}
		defer f.Close()
		b, fds = []byte(inFile), append([]int{int(f.Fd())}, fds...)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, err = c.conn.WriteMsgUnix(b, oob, nil)
	return err
}

// inFile is the packet that says that the message is in the first file.
const inFile = "file"

// fileOf returns a file in memory, to be read from its beginning.
func fileOf(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "message")
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// receive returns the next message and its descriptors, which are the
// caller's.
func (c *control) receive() (m message, fds []int, err error) {
	if c.buf == nil {
		c.buf, c.oob = make([]byte, packetMax), make([]byte, unix.CmsgSpace(4*filesMax))
	}
	n, oobn, _, _, err := c.conn.ReadMsgUnix(c.buf, c.oob)
	if err != nil {
		return m, nil, err
	}
	if fds, err = files(c.oob[:oobn]); err != nil {
		return m, nil, err
	}
	b := c.buf[:n]
	if string(b) == inFile && len(fds) > 0 {
		f := os.NewFile(uintptr(fds[0]), "message")
		fds = fds[1:]
		b, err = io.ReadAll(io.LimitReader(f, messageMax))
		f.Close()
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		closeAll(fds)
		return m, nil, fmt.Errorf("control message: %w", err)
	}
	return m, fds, nil
}

// filesMax is how many files the kernel lets travel with a packet (SCM_MAX_FD).
const filesMax = 253

// files returns the descriptors in control messages.
func files(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
