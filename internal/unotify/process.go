//go:build linux && (amd64 || arm64)

package unotify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the processes that Start makes call themselves until they are something
// else.
const (
	guardName = "towpath-run-guard"
	shimName  = "towpath-run-shim"
	probeName = "towpath-run-probe"
)

// initCalled keeps programs that forget Init from starting themselves again and
// again.
var initCalled atomic.Bool

// Init must be the first thing that main, or TestMain, calls. It does not return
// in the processes that Start makes, and does nothing in others.
func Init() {
	initCalled.Store(true)
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case guardName:
		guard()
	case shimName:
		fmt.Fprintln(os.Stderr, "towpath:", shim())
		os.Exit(126)
	case probeName:
		os.Exit(0)
	}
}

// Cmd is a program to be started.
type Cmd struct {
	Path           string   // a path; nothing is looked up
	Args           []string // with the program's name
	Env            []string // nil: this process's
	Dir            string   // empty: this process's
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// OwnGroup puts the program into a process group of its own, out of reach of
	// the terminal's signals.
	OwnGroup bool
}

// A Process is a program that has been started, with all that it starts.
type Process struct {
	// Listener has the notifications of the program and its children.
	Listener *Listener
	// PID is the program's.
	PID int

	group   bool
	guard   *exec.Cmd
	control *os.File
	status  chan syscall.WaitStatus
}

// Start starts a program. Its first notification comes before or after Start
// returns; whoever starts a program receives its notifications and waits for it.
func Start(c Cmd) (*Process, error) {
	if !initCalled.Load() {
		return nil, errors.New("unotify.Init has not been called: it must be the first thing that main, or TestMain, does")
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		if release := unix.ByteSliceToString(name.Release[:]); tooOld(release) {
			return nil, fmt.Errorf("this kernel is Linux %[3]s, and %[1]d.%[2]d is needed", kernelMajor, kernelMinor, release)
		}
	}
	p := &Process{group: c.OwnGroup, status: make(chan syscall.WaitStatus, 1)}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	p.control = os.NewFile(uintptr(pair[0]), "control")
	theirs := os.NewFile(uintptr(pair[1]), "control")
	unix.SetNonblock(pair[1], false)
	handR, handW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.control.Close(), theirs.Close())
	}
	ackR, ackW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.control.Close(), theirs.Close(), handR.Close(), handW.Close())
	}
	g := exec.Command("/proc/self/exe")
	g.Args = append([]string{guardName, strconv.FormatBool(c.OwnGroup), c.Path}, c.Args...)
	g.Env, g.Dir, g.Stdin, g.Stdout, g.Stderr = c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr
	g.ExtraFiles = []*os.File{theirs, handW, ackR}
	g.WaitDelay = time.Second
	p.guard = g
	err = g.Start()
	theirs.Close()
	handW.Close()
	ackR.Close()
	defer handR.Close()
	defer ackW.Close()
	if err != nil {
		p.control.Close()
		return nil, err
	}
	if err := p.takeListener(handR); err != nil {
		p.Kill()
		g.Wait()
		p.control.Close()
		return nil, err
	}
	go p.await()
	if _, err := ackW.Write([]byte{1}); err != nil {
		p.Kill()
		p.Wait()
		return nil, err
	}
	return p, nil
}

// The first kernel that gives a descriptor and the answer in one step.
const (
	kernelMajor = 5
	kernelMinor = 14
)

// tooOld reports whether a kernel's release is known to be too old.
func tooOld(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < kernelMajor || major == kernelMajor && minor < kernelMinor
}

// takeListener reads what the shim says, and takes its descriptor.
func (p *Process) takeListener(r *os.File) error {
	text, err := readLine(r)
	if err != nil {
		return fmt.Errorf("the program's first process said nothing: %w", err)
	}
	if msg, bad := strings.CutPrefix(text, "error "); bad {
		return errors.New(msg)
	}
	var fd int
	if _, err := fmt.Sscanf(text, "%d %d", &p.PID, &fd); err != nil {
		return fmt.Errorf("the program's first process said %q", text)
	}
	got, err := GetFD(p.PID, fd)
	if err != nil {
		return explain(err)
	}
	p.Listener, err = newListener(got)
	return err
}

// explain says what keeps a process from looking into its children.
func explain(err error) error {
	scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	switch s := strings.TrimSpace(string(scope)); {
	case err == unix.ENOSYS:
		return errors.New("this kernel has no pidfd_getfd; Linux 5.14 is needed")
	case err == unix.EPERM && s > "1":
		return fmt.Errorf("this system forbids to look into one's own processes: as root, sysctl -w kernel.yama.ptrace_scope=1 (it is %s)", s)
	case err == unix.EPERM:
		return errors.New("this system forbids to look into one's own processes (pidfd_getfd); in a container, run it with --cap-add SYS_PTRACE")
	}
	return os.NewSyscallError("pidfd_getfd", err)
}

// GetFD returns a duplicate of a descriptor of another process, of which pid is
// a thread.
func GetFD(pid, fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, pidfdThread)
	if err == unix.EINVAL { // before Linux 6.9
		if leader, ok := leaderOf(pid); ok {
			pidfd, err = unix.PidfdOpen(leader, 0)
		}
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// pidfdThread is PIDFD_THREAD: any thread will do.
const pidfdThread = unix.O_EXCL

// leaderOf finds the process of a thread.
func leaderOf(tid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(b), "\nTgid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	return n, ok && err == nil
}

func readLine(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(text), nil
		}
		text = append(text, b[0])
	}
}

// await reads the status from the guard.
func (p *Process) await() {
	b := make([]byte, 4)
	status := syscall.WaitStatus(syscall.SIGKILL)
	if _, err := io.ReadFull(p.control, b); err == nil {
		status = syscall.WaitStatus(*(*uint32)(unsafe.Pointer(&b[0])))
	}
	p.status <- status
}

// Wait waits until the program and all that it started have ended and their
// output has been copied. It is called once.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	status := <-p.status
	err := p.guard.Wait()
	p.control.Close()
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return status, err
}

// Signal sends a signal to the program, and to its group if that is its own.
func (p *Process) Signal(sig syscall.Signal) error {
	if p.group {
		return unix.Kill(-p.PID, sig)
	}
	return unix.Kill(p.PID, sig)
}

// Kill kills the program and all that it has started. It may be called at any
// time.
func (p *Process) Kill() {
	if c, err := p.control.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}

// The descriptors of guard and shim.
const (
	guardControl = 3
	guardHand    = 4
	guardAck     = 5
	shimHand     = 3
	shimAck      = 4
)

// guard starts the shim, reaps what it leaves, and kills all of it when the
// program ends or the control socket does.
func guard() {
	runtime.LockOSThread() // the thread whose end would kill the shim
	unix.CloseOnExec(guardControl)
	// Terminals and people signal the whole group; the guard stays. Signals
	// that were ignored would be ignored by the program too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	fail := func(err error) {
		fmt.Fprintf(os.NewFile(guardHand, "hand"), "error %v\n", err)
		os.Exit(1)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fail(os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", append([]string{shimName}, os.Args[2:]...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2, guardHand, guardAck},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: os.Args[1] == "true"},
	})
	if err != nil {
		fail(err)
	}
	unix.Close(guardHand)
	unix.Close(guardAck)
	go func() {
		b := make([]byte, 1)
		for {
			if n, err := unix.Read(guardControl, b); err != unix.EINTR && n <= 0 {
				break
			}
		}
		unix.Kill(pid, unix.SIGKILL)
	}()
	var status unix.WaitStatus
	for {
		got, err := unix.Wait4(-1, &status, 0, nil)
		if got == pid || err != nil && err != unix.EINTR {
			break
		}
	}
	reapAll()
	s := uint32(status)
	unix.Write(guardControl, unsafe.Slice((*byte)(unsafe.Pointer(&s)), 4))
	os.Exit(0)
}

// reapAll kills and reaps until no child is left. The children of those who die
// become ours.
func reapAll() {
	for {
		for _, pid := range children(os.Getpid()) {
			unix.Kill(pid, unix.SIGKILL)
		}
		switch pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case err == unix.ECHILD:
			return
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}

// children lists the processes whose parent a process is.
func children(parent int) (list []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// PID (NAME) STATE PPID …, and the name may contain anything.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 2 || f[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(name, "/")[2]); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// shim installs the filter, hands the listener over and becomes the program. It
// returns what went wrong.
func shim() error {
	runtime.LockOSThread()
	unix.CloseOnExec(shimHand)
	unix.CloseOnExec(shimAck)
	hand := os.NewFile(shimHand, "hand")
	old := blockSignals()
	fd, err := install()
	if err != nil {
		fmt.Fprintf(hand, "error %v\n", err)
		os.Exit(1)
	}
	// Plain writes and reads: sending messages is trapped already.
	unix.Write(shimHand, fmt.Appendf(nil, "%d %d\n", os.Getpid(), fd))
	for b := make([]byte, 1); ; {
		n, err := unix.Read(shimAck, b)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			os.Exit(1) // nobody listens
		}
		break
	}
	unix.Close(fd)
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) // it would survive execve
	err = syscall.Exec(os.Args[1], os.Args[2:], os.Environ())
	return fmt.Errorf("%s: %w", os.Args[1], err)
}

// install puts the filter on this thread and returns the listener.
func install() (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	code := filter()
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	switch e {
	case 0:
		return int(fd), nil
	case unix.EBUSY:
		return -1, errors.New("another process answers this one's system calls already: towpath run does not work inside towpath run, nor in containers whose runtime listens")
	case unix.ENOSYS, unix.EINVAL:
		return -1, errors.New("this kernel has no seccomp notifications; Linux 5.14 with CONFIG_SECCOMP_FILTER is needed")
	case unix.EPERM, unix.EACCES:
		return -1, errors.New("this system forbids seccomp filters; in a container, run it with --security-opt seccomp=unconfined")
	}
	return -1, os.NewSyscallError("seccomp", e)
}

// Probe finds out whether programs can be started here, and if not, why.
func Probe() error {
	p, err := Start(Cmd{Path: "/proc/self/exe", Args: []string{probeName}})
	if err != nil {
		return err
	}
	defer p.Listener.Close()
	var served sync.WaitGroup
	served.Go(func() {
		var n Notification
		for p.Listener.Recv(&n) == nil {
			p.Listener.Continue(n.ID) // of the files that every program opens
		}
	})
	status, err := p.Wait()
	p.Listener.Stop()
	served.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("a program that was started for a try ended with status %#x", uint32(status))
	}
	return err
}
