package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlFD is where a machine's first process finds its control socket.
const controlFD = 3

func isInit() bool {
	return len(os.Args) > 0 && os.Args[0] == initName && os.Getpid() == 1
}

func init() {
	if isInit() {
		// The main goroutine stays on the main thread, whose namespaces are
		// those that /proc/1 shows.
		runtime.LockOSThread()
	}
}

// initCalled keeps programs that forget Init from starting themselves again and
// again.
var initCalled atomic.Bool

// Init must be the first thing that main, or TestMain, calls. In a process that
// Start has started it sets the machine up, serves it, and never returns;
// everywhere else it does nothing.
func Init() {
	initCalled.Store(true)
	if !isInit() {
		return
	}
	if err := initMain(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", initName, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func initMain() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_PDEATHSIG", err)
	}
	// Process 1 ends with the control socket and by no signal. (Ignored
	// signals would be ignored by the programs too; caught ones are not.)
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	ctl, err := newControl(os.NewFile(controlFD, "control"))
	if err != nil {
		return err
	}
	m, fds, err := ctl.receive()
	if err != nil || m.Kind != kindConfig {
		return fmt.Errorf("no configuration: %v", err)
	}
	closeAll(fds)
	answer := message{Kind: kindReady}
	var ports []int
	if m.Probe {
		answer.Checks = probeInside()
	} else if ports, answer.Veth, err = setUp(m.Config); err != nil {
		ctl.send(failed(0, err))
		return nil
	}
	err = ctl.send(answer, ports...)
	closeAll(ports)
	if err != nil {
		return err
	}
	s := &supervisor{ctl: ctl, programs: map[int]uint64{}}
	go s.reap()
	return s.serve()
}

// supervisor starts programs in the machine and tells of their end.
type supervisor struct {
	ctl *control

	mu       sync.Mutex
	programs map[int]uint64 // ids of the programs that run, by PID
}

// serve does what the parent asks, until it closes the socket.
func (s *supervisor) serve() error {
	for {
		m, fds, err := s.ctl.receive()
		if err != nil {
			return nil // the parent has gone
		}
		switch m.Kind {
		case kindExec:
			s.exec(&m, fds)
		case kindSignal:
			s.signal(m.ID, unix.Signal(m.Signal))
		}
		closeAll(fds)
	}
}

// exec starts a program. The lock keeps reap from seeing its end before its
// beginning is told, or from seeing that of a fork whose exec failed.
func (s *supervisor) exec(m *message, fds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err := fork(m, fds)
	if err != nil {
		s.ctl.send(failed(m.ID, err))
		return
	}
	s.programs[pid] = m.ID
	s.ctl.send(message{Kind: kindStarted, ID: m.ID, PID: pid})
}

func fork(m *message, fds []int) (int, error) {
	if len(fds) != 3 {
		return 0, fmt.Errorf("got %d files", len(fds))
	}
	if fi, err := os.Stat(m.Dir); err != nil {
		return 0, fmt.Errorf("directory %s: %w", m.Dir, errors.Unwrap(err))
	} else if !fi.IsDir() {
		return 0, fmt.Errorf("directory %s: %w", m.Dir, unix.ENOTDIR)
	}
	path, err := lookPath(m.Args[0], m.Env, m.Dir)
	if err != nil {
		return 0, err
	}
	pid, err := syscall.ForkExec(path, m.Args, &syscall.ProcAttr{
		Dir:   m.Dir,
		Env:   m.Env,
		Files: []uintptr{uintptr(fds[0]), uintptr(fds[1]), uintptr(fds[2])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: m.Terminal},
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", m.Args[0], err)
	}
	return pid, nil
}

// lookPath finds a program as a shell would, in the PATH of the environment it
// is to have.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, executable(name, path)
	}
	list := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	var denied error
	for _, d := range filepath.SplitList(list) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		path := filepath.Join(d, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if denied = executable(name, path); denied == nil {
			return path, nil
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func executable(name, path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", name, errors.Unwrap(err))
	}
	if fi.IsDir() || unix.Access(path, unix.X_OK) != nil {
		return fmt.Errorf("%s: %w", name, unix.EACCES)
	}
	return nil
}

// signal signals a program and its process group.
func (s *supervisor) signal(id uint64, sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, i := range s.programs {
		if i == id {
			unix.Kill(-pid, sig)
		}
	}
}

// reap waits for the programs and for their orphans, which become ours.
func (s *supervisor) reap() {
	child := make(chan os.Signal, 1)
	signal.Notify(child, unix.SIGCHLD)
	for {
		s.reapAll()
		<-child
	}
}

func (s *supervisor) reapAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if id, ok := s.programs[pid]; ok {
			delete(s.programs, pid)
			s.ctl.send(message{Kind: kindExited, ID: id, Status: uint32(status)})
		}
	}
}
