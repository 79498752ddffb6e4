package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/link/tun"
)

// initName is what a machine's first process is called; its argument is the
// machine's name.
const initName = "towpath-machine"

// Machine is a running machine.
type Machine struct {
	name  string
	ctl   *control
	proc  *os.Process
	ports []link.Miniport

	ready  chan ready    // gets the machine's first message
	dead   chan struct{} // closed when process 1 has ended, and all with it
	reader sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	lastID   uint64
	programs map[uint64]*Process // those that run
}

// ready is a machine's first message.
type ready struct {
	message
	fds []int
}

// Start starts a machine and returns when its interfaces are up. The machine
// must be closed.
func Start(ctx context.Context, c Config) (*Machine, error) {
	m, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", c.Name, err)
	}
	return m, nil
}

func start(ctx context.Context, c Config) (*Machine, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := spawn(c.Name)
	if err != nil {
		return nil, err
	}
	r, err := m.setUp(ctx, message{Kind: kindConfig, Config: &c})
	if err == nil {
		err = m.addPorts(&c, r)
	}
	if err != nil {
		m.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return m, nil
}

// spawn starts process 1 of a machine.
func spawn(name string) (*Machine, error) {
	if !initCalled.Load() {
		return nil, errors.New("main, or TestMain, must call machine.Init first")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	ctl, err := newControl(os.NewFile(uintptr(pair[0]), "control"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{initName, name}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr // for a panic
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
		// An ordinary user may map one id, its own, and must give up setgroups.
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Setsid:      true,
	}
	m := &Machine{
		name: name, ctl: ctl,
		ready: make(chan ready, 1), dead: make(chan struct{}),
		programs: map[uint64]*Process{},
	}
	started := make(chan error)
	go func() {
		// The signal of the parent's death, which Init asks for, comes when
		// the thread dies that started it: keep that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(m.dead)
		}
	}()
	if err := <-started; err != nil {
		ctl.conn.Close()
		return nil, explain(err)
	}
	m.proc = cmd.Process
	m.reader.Add(1)
	go m.readLoop()
	return m, nil
}

// setUp tells the machine what to be and waits until it is.
func (m *Machine) setUp(ctx context.Context, request message) (r ready, err error) {
	if err := m.ctl.send(request); err != nil && !errors.Is(err, unix.EPIPE) {
		return r, err
	}
	select {
	case r = <-m.ready:
	case <-ctx.Done():
		return r, ctx.Err()
	case <-m.dead:
		select {
		case r = <-m.ready: // said why it died
		default:
			return r, errors.New("its first process died")
		}
	}
	if r.Kind == kindFailed {
		return r, explainInside(r.err())
	}
	return r, nil
}

// addPorts makes ports of the descriptors.
func (m *Machine) addPorts(c *Config, r ready) error {
	defer func() { closeAll(r.fds) }()
	if len(r.fds) != len(c.Interfaces) {
		return fmt.Errorf("got %d ports for %d interfaces", len(r.fds), len(c.Interfaces))
	}
	for i, ifc := range c.Interfaces {
		var port link.Miniport
		var err error
		if r.Veth {
			port, err = afpacket.FromFD(r.fds[i], afpacket.Config{MTU: ifc.MTU, MAC: ifc.PortMAC})
		} else {
			port, err = tun.FromFD(r.fds[i], tun.Config{MTU: ifc.MTU, MAC: ifc.PortMAC})
		}
		if err != nil {
			return err
		}
		r.fds[i] = -1
		m.ports = append(m.ports, port)
	}
	return nil
}

// readLoop takes the machine's messages until its end.
func (m *Machine) readLoop() {
	defer m.reader.Done()
	for first := true; ; first = false {
		msg, fds, err := m.ctl.receive()
		if err != nil {
			break
		}
		if first {
			m.ready <- ready{msg, fds}
			continue
		}
		closeAll(fds)
		m.handle(&msg)
	}
	<-m.dead
	m.mu.Lock()
	m.closed = true
	lost := m.programs
	m.programs = nil
	m.mu.Unlock()
	for _, p := range lost {
		p.lose()
	}
}

// handle takes a message about a program.
func (m *Machine) handle(msg *message) {
	m.mu.Lock()
	p := m.programs[msg.ID]
	if msg.Kind != kindStarted {
		delete(m.programs, msg.ID)
	}
	m.mu.Unlock()
	if p == nil {
		return
	}
	switch msg.Kind {
	case kindStarted:
		p.pid = msg.PID
		close(p.started)
	case kindFailed:
		p.startErr = msg.err()
		close(p.started)
	case kindExited:
		p.exit(syscall.WaitStatus(msg.Status))
	}
}

// Name is the machine's name.
func (m *Machine) Name() string { return m.name }

// Ports returns the far ends of the machine's interfaces, in the order of the
// configuration, to be made adapters of. Closing the machine closes them.
func (m *Machine) Ports() []link.Miniport { return m.ports }

// PID is the number of the machine's first process as this process sees it,
// for the path of its namespaces in /proc.
func (m *Machine) PID() int { return m.proc.Pid }

// Done is closed when the machine has ended.
func (m *Machine) Done() <-chan struct{} { return m.dead }

// Close kills the machine's programs and ends it. When it returns nil nothing
// of it is left: no process, device, mount or descriptor. It may be called more
// than once.
func (m *Machine) Close(ctx context.Context) error {
	// The kernel kills everybody in a PID namespace with process 1, and lets
	// nobody wait for process 1 before they are gone.
	m.proc.Kill()
	for _, p := range m.ports {
		p.Close()
	}
	select {
	case <-m.dead:
	case <-ctx.Done():
		return fmt.Errorf("machine %s: close: %w", m.name, ctx.Err())
	}
	m.ctl.conn.Close()
	m.reader.Wait()
	select {
	case r := <-m.ready:
		closeAll(r.fds)
	default:
	}
	return nil
}
